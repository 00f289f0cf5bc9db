//! Which of several shapes of an answer a client wants, as `Accept` says.

use axum::http::{HeaderMap, header};

/// The shape that is named with the most weight; `first`, where that is one of them or none is named. What a client that is generated from
/// the description names are all of them, in their order.
pub(crate) fn preferred(headers: &HeaderMap, first: &'static str, others: &[&'static str]) -> &'static str {
    let given = || headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok()).flat_map(|accept| accept.split(','));
    let weight = |shape: &str| given().filter_map(|range| weight_of(range, shape)).max().unwrap_or(0);
    let (mut best, mut most) = (first, weight(first));
    for other in others {
        let weight = weight(other);
        if weight > most {
            (best, most) = (*other, weight);
        }
    }
    best
}

/// What a range says of a shape, in thousandths. A range that names no shape has nothing to say: it takes the first one.
fn weight_of(range: &str, shape: &str) -> Option<u32> {
    let mut parts = range.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case(shape) {
        return None;
    }
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    Some(weight.map_or(1_000, thousandths))
}

/// `0.8` is 800, and what is no weight is none.
fn thousandths(weight: &str) -> u32 {
    match weight.split_once('.').unwrap_or((weight, "")) {
        ("1", _) => 1_000,
        ("0", digits) => format!("{digits:0<3}").get(..3).and_then(|digits| digits.parse().ok()).unwrap_or(0),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_shape_is_given_unless_another_one_is_wanted_more() {
        let of = |accept: &str| {
            let headers = HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]);
            preferred(&headers, "application/json", &["text/csv", "application/vcon+json"])
        };
        for json in ["", "*/*", "text/*", "application/json, application/vcon+json, text/csv", "application/vcon+json;q=0", "text/csv;q=x"]
        {
            assert_eq!(of(json), "application/json", "{json}");
        }
        for vcon in [
            "application/vcon+json",
            "Application/vCon+JSON; q=0.5, */*",
            "application/json;q=0.7, text/csv;q=0.75, application/vcon+json;q=0.8",
        ] {
            assert_eq!(of(vcon), "application/vcon+json", "{vcon}");
        }
        assert_eq!(of("application/vcon+json, text/csv"), "text/csv");
    }
}
