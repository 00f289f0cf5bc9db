//! The XML of an answer, read by somebody else's reader.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// What XML 1.0 can hold of a text.
pub fn in_xml(text: &str) -> String {
    let held = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    text.chars().map(|c| if held(c) { c } else { '\u{fffd}' }).collect()
}

/// Names and values of a document, read by a reader that checks names of ends and references, and by rules that it leaves out.
///
/// # Panics
/// When it is not well-formed, or not of the shape of PAR-G6.
pub fn members_of(xml: &str) -> Vec<(String, String)> {
    assert!(
        xml.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?><callData>")
            && xml.chars().all(|c| in_xml(&c.to_string()) == c.to_string())
    );
    let mut reader = Reader::from_str(xml);
    reader.config_mut().enable_all_checks(true);
    let (mut members, mut open, mut depth) = (Vec::new(), None, 0);
    loop {
        match reader.read_event().unwrap_or_else(|error| panic!("{error}: {xml}")) {
            Event::Decl(_) => {}
            Event::Start(start) if depth == 0 => {
                assert_eq!(start.name().as_ref(), "callData");
                depth = 1;
            }
            Event::Start(start) if depth == 1 => {
                open = Some((name_of(&start), String::new()));
                depth = 2;
            }
            Event::Text(text) if depth == 2 => open.as_mut().expect("an element is open").1.push_str(&text),
            Event::GeneralRef(reference) if depth == 2 => {
                let value = &mut open.as_mut().expect("an element is open").1;
                match reference.resolve_char_ref().expect("references are well-formed") {
                    Some(c) => value.push(c),
                    None => value.push_str(quick_xml::escape::resolve_predefined_entity(&reference).expect("a reference that XML knows")),
                }
            }
            Event::End(_) => {
                depth -= 1;
                members.extend(open.take());
            }
            Event::Eof if depth == 0 => return members,
            event => panic!("{event:?} at depth {depth}: {xml}"),
        }
    }
}

fn name_of(start: &BytesStart<'_>) -> String {
    let attributes: Vec<_> = start.attributes().collect::<Result<_, _>>().expect("attributes are well-formed");
    match attributes.as_slice() {
        [] => start.name().as_ref().to_owned(),
        [name] => name.normalized_value(quick_xml::XmlVersion::Explicit1_0).expect("only references that XML knows").into_owned(),
        _ => panic!("{attributes:?}"),
    }
}
