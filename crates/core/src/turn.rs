//! What was said, and what was asked and answered.

use crate::Timestamp;

/// One exchange of a conversation: the user said something, the other side replied. Texts are empty when unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// The number of the turn within its session, as its author counts.
    pub no: String,
    /// What the user said, as recognised.
    pub user_text: String,
    /// What the user wanted, as recognised.
    pub intent: String,
    /// What was replied.
    pub reply: String,
    /// When the user spoke.
    pub requested_at: Option<Timestamp>,
    /// When the reply was given.
    pub replied_at: Option<Timestamp>,
    /// Who replied.
    pub by: TurnSource,
    /// How the flow took part.
    pub mode: InvolveMode,
}

/// Who replied in a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TurnSource {
    /// The bot.
    #[default]
    Bot,
    /// A human agent who works unheard behind the bot.
    Agent,
}

/// How the flow took part in a turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InvolveMode {
    /// On its own.
    #[default]
    Common,
    /// With an agent listening.
    Monitoring,
    /// With an agent stepping in.
    Insertion,
}

/// A question that was asked, and its answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The number of the question within its session, as its author counts.
    pub no: Option<String>,
    /// The series of questions that it belongs to.
    pub series: Option<String>,
    /// What was asked.
    pub question: Option<String>,
    /// The kind of question, as its author names it.
    pub question_type: Option<String>,
    /// What the answer means, as recognised.
    pub intent: Option<String>,
    /// What the user answered.
    pub original: Option<String>,
    /// When the answer was given.
    pub created_at: Option<Timestamp>,
}
