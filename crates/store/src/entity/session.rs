use sea_orm::entity::prelude::*;

#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "session")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub call_id: String,
    pub caller: String,
    pub caller_key: String,
    pub country_code: Option<String>,
    pub cti_call_key: Option<String>,
    pub conversation_key: Option<String>,
    pub intent_key: Option<String>,
    pub received_first: i64,
    pub received_last: i64,
    pub started_at: i64,
    pub source: i32,
    pub replay_digest: Option<Vec<u8>>,
    pub content: Option<String>,
    pub conversation: Option<String>,
    pub fields: String,
    pub turns: Option<String>,
    pub answers: Option<String>,
    pub details: Option<String>,
}

impl Model {
    /// How many bytes of text the row holds; [`crate::catalog`] counts the same in SQL.
    pub(crate) fn text_bytes(&self) -> usize {
        let Self { call_id, caller, fields, content, conversation, turns, answers, details, .. } = self;
        let given = [content, conversation, turns, answers, details].into_iter().flatten().map(String::len).sum::<usize>();
        call_id.len() + caller.len() + fields.len() + given
    }
}

/// A row holds phone numbers and transcripts.
impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "session row {} of tenant {}", self.id, self.tenant_id)
    }
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
