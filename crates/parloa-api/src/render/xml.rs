//! XML 1.0 (PAR-G6), well-formed for every record that can be stored.

use std::borrow::Cow;

use quick_xml::Writer;
use quick_xml::escape::{escape, partial_escape};
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

use super::NO_RESULT;
use crate::record::Record;

const ROOT: &str = "callData";
/// The element of a field whose name is no XML name.
const FIELD: &str = "field";

pub(super) fn record(record: &Record) -> Option<String> {
    let members = record.members();
    document(members.iter().map(|(name, value)| (name.as_str(), value.display())))
}

pub(super) fn miss() -> Option<String> {
    document([("error", Cow::Borrowed(NO_RESULT))])
}

fn document<'a>(members: impl IntoIterator<Item = (&'a str, Cow<'a, str>)>) -> Option<String> {
    let mut writer = Writer::new(Vec::new());
    let mut write = |event: Event<'_>| writer.write_event(event).ok();
    write(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    write(Event::Start(BytesStart::new(ROOT)))?;
    for (name, value) in members {
        let (start, end) = if is_xml_name(name) { (BytesStart::new(name), name) } else { (named_field(name), FIELD) };
        write(Event::Start(start))?;
        let value = only_xml_chars(&value);
        write(Event::Text(BytesText::from_escaped(partial_escape(&*value))))?;
        write(Event::End(BytesEnd::new(end)))?;
    }
    write(Event::End(BytesEnd::new(ROOT)))?;
    String::from_utf8(writer.into_inner()).ok()
}

/// `<field name="…">`. A reader turns a line break or tab in an attribute into a space unless it is written as a reference.
fn named_field(name: &str) -> BytesStart<'static> {
    let name = only_xml_chars(name);
    let name = escape(&*name).replace('\n', "&#10;").replace('\t', "&#9;");
    BytesStart::from_content(format!("{FIELD} name=\"{name}\""), FIELD.len())
}

/// XML 1.0 has no way to write most control characters; they become U+FFFD.
fn only_xml_chars(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_xml_char) {
        return Cow::Borrowed(text);
    }
    text.chars().map(|c| if is_xml_char(c) { c } else { '\u{fffd}' }).collect()
}

/// `Char` of XML 1.0.
fn is_xml_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// `Name` of XML 1.0, without the colon, which would ask for a namespace, and without what XML reserves for itself.
fn is_xml_name(name: &str) -> bool {
    let mut chars = name.chars();
    let reserved = name.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("xml"));
    !reserved && chars.next().is_some_and(is_name_start) && chars.all(is_name_char)
}

fn is_name_start(c: char) -> bool {
    matches!(c,
        'A'..='Z' | 'a'..='z' | '_' | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{2ff}' | '\u{370}'..='\u{37d}'
        | '\u{37f}'..='\u{1fff}' | '\u{200c}'..='\u{200d}' | '\u{2070}'..='\u{218f}' | '\u{2c00}'..='\u{2fef}' | '\u{3001}'..='\u{d7ff}'
        | '\u{f900}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fffd}' | '\u{10000}'..='\u{effff}')
}

fn is_name_char(c: char) -> bool {
    is_name_start(c) || matches!(c, '-' | '.' | '0'..='9' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}'..='\u{2040}')
}

#[cfg(test)]
mod tests {
    use super::super::tests::{documented, with_fields};
    use super::*;

    #[test]
    fn par_g6_one_element_a_field() {
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><callData><caller>+111111111</caller><callid>145644644ff</callid>\
            <timestamp>2024-02-27T12:16:23.926Z</timestamp><content>Postman tests</content></callData>";
        assert_eq!(record(&documented()).unwrap(), expected);
        assert_eq!(miss().unwrap(), "<?xml version=\"1.0\" encoding=\"UTF-8\"?><callData><error>no result found</error></callData>");
    }

    #[test]
    fn par_g6_names_that_are_no_xml_names_become_an_attribute() {
        let names = ["", "1a", "a b", "a:b", "xmlns", "XML", "-a", "a\tb\n\"<&>'", "\u{0}", "é ", "\u{d7}"];
        for name in names {
            let xml = record(&with_fields(&[(name, "1")])).unwrap();
            assert!(xml.contains("<field name=\"") && xml.ends_with("\">1</field></callData>"), "{name:?}: {xml}");
        }
        let xml = record(&with_fields(&[("a\tb\n\"<&>'\r", "1")])).unwrap();
        assert!(xml.contains(r#"<field name="a&#9;b&#10;&quot;&lt;&amp;&gt;&apos;&#13;">1</field>"#), "{xml}");
        for name in ["a", "_1", "é", "a-b.c", "input.caller", "xm", "日本", "field", "a\u{b7}\u{300}"] {
            assert!(record(&with_fields(&[(name, "1")])).unwrap().contains(&format!("<{name}>1</{name}>")), "{name}");
        }
    }

    #[test]
    fn par_g6_markup_is_escaped_and_what_xml_forbids_is_replaced() {
        let xml = record(&with_fields(&[("a", r#""<b>&amp;]]>\u0000\u000b\u001b\ufffe\r\n\t😀""#), ("o", r#"{"k": ["v"]}"#)])).unwrap();
        assert!(xml.contains("<a>&lt;b&gt;&amp;amp;]]&gt;\u{fffd}\u{fffd}\u{fffd}\u{fffd}&#13;\n\t😀</a>"), "{xml}");
        assert!(xml.contains(r#"<o>{"k":["v"]}</o>"#), "{xml}");
    }
}
