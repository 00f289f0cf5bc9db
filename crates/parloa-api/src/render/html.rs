//! HTML (PAR-G5), the documented pages byte for byte.

use std::sync::LazyLock;

use minijinja::{Environment, UndefinedBehavior, context};

use super::{NO_RESULT, Row, Style, date, rows};
use crate::record::Record;

/// Named `.html`, for only then is what is put into it escaped.
const PAGE: &str = "page.html";

static PAGES: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut pages = Environment::new();
    pages.set_undefined_behavior(UndefinedBehavior::Strict);
    pages.add_template(PAGE, include_str!("../../templates/page.html")).expect("the template is part of the program");
    pages
});

pub(super) fn record(record: &Record, style: &Style) -> Option<String> {
    let title = match style.language {
        super::Language::German => format!("Botgespräch vom {}", date(record, style)),
        super::Language::English => format!("Bot conversation from {}", date(record, style)),
    };
    page(style, &title, &rows(record, style))
}

pub(super) fn miss(style: &Style) -> Option<String> {
    page(style, NO_RESULT, &[])
}

fn page(style: &Style, title: &str, rows: &[Row]) -> Option<String> {
    let rows: Vec<_> = rows.iter().map(|row| context! { label => without_nul(&row.label), value => without_nul(&row.value) }).collect();
    PAGES.get_template(PAGE).ok()?.render(context! { lang => style.language.code(), title, rows }).ok()
}

/// HTML cannot hold NUL, not even as a reference.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{documented, style, with_fields};
    use super::super::{Format, Language};
    use super::*;

    #[test]
    fn par_g5_the_documented_pages_byte_for_byte() {
        let german = record(&documented(), &style(Format::Html, Language::German)).unwrap();
        assert_eq!(german.trim_end_matches('\n'), include_str!("../../../../tests/golden/parloa-get-de.html").trim_end_matches('\n'));
        let english = record(&documented(), &style(Format::Html, Language::English)).unwrap();
        assert_eq!(english.trim_end_matches('\n'), include_str!("../../../../tests/golden/parloa-get-en.html").trim_end_matches('\n'));
    }

    #[test]
    fn par_g5_names_and_values_are_escaped() {
        let page =
            record(&with_fields(&[("<b a='x'>", r#""<script>&\"'\u0000--></td>""#)]), &style(Format::Html, Language::English)).unwrap();
        assert!(!page.contains("<b a") && !page.contains("<script") && !page.contains('\0') && page.matches("-->").count() == 1, "{page}");
        assert!(page.contains("&lt;script&gt;&amp;&quot;&#x27;\u{fffd}--&gt;&lt;&#x2f;td&gt;"), "{page}");
        assert_eq!(page.matches("<tr>").count(), 6);
    }

    #[test]
    fn a_miss_is_a_page_too() {
        let page = miss(&style(Format::Html, Language::German)).unwrap();
        assert!(page.contains("<title>no result found</title>") && !page.contains("<tr>"), "{page}");
    }
}
