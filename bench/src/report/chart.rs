//! A picture of the rates: horizontal bars, in plain SVG.

use std::fmt::Write as _;

use super::{Machine, Results, Spread};

const SETS: [(&str, &str); 5] = [
    ("w", "Posts, durable (W)"),
    ("r-recent", "Fetches of the last minute (R recent)"),
    ("r-cold", "Fetches at random (R cold)"),
    ("q-20", "Record queries, 20 records (Q)"),
    ("mixed", "70 % W, 25 % R, 5 % Q"),
];
const CONTENDERS: [(&str, &str, &str); 7] = [
    ("bare", "bare axum", "#9aa5b1"),
    ("gateway-sqlite", "gateway, SQLite", "#0b6e4f"),
    ("gateway-postgres", "gateway, PostgreSQL", "#1f8a70"),
    ("fastify-sqlite", "Fastify, SQLite", "#c98b2b"),
    ("fastify-postgres", "Fastify, PostgreSQL", "#c98b2b"),
    ("fastapi-sqlite", "FastAPI, SQLite", "#b5533c"),
    ("fastapi-postgres", "FastAPI, PostgreSQL", "#b5533c"),
];
const WIDTH: f64 = 760.0;
const LEFT: f64 = 160.0;
const BAR: f64 = 16.0;
const ROOM: f64 = WIDTH - LEFT - 130.0;

/// The picture.
pub fn svg(results: &Results, machine: &Machine) -> String {
    let mut body = String::new();
    let mut y = 52.0;
    for (set, title) in SETS {
        let rates: Vec<_> = CONTENDERS
            .iter()
            .filter_map(|(contender, name, colour)| {
                let rate = Spread::of(results.rates(set, contender).into_iter().map(|(_, rate)| rate))?;
                Some((*name, *colour, rate.median))
            })
            .collect();
        let Some(most) = rates.iter().map(|(_, _, rate)| *rate).max_by(f64::total_cmp) else { continue };
        y += 26.0;
        let _ = writeln!(body, r#"<text x="16" y="{y}" font-weight="bold">{title}</text>"#);
        y += 8.0;
        for (name, colour, rate) in rates {
            let (width, middle) = ((rate / most * ROOM).max(1.0), y + BAR * 0.75);
            let _ = writeln!(body, r#"<text x="{}" y="{middle}" text-anchor="end">{name}</text>"#, LEFT - 8.0);
            let _ = writeln!(body, r#"<rect x="{LEFT}" y="{y}" width="{width:.1}" height="{}" fill="{colour}"/>"#, BAR - 3.0);
            let _ = writeln!(body, r#"<text x="{:.1}" y="{middle}">{}/s</text>"#, LEFT + width + 6.0, grouped(rate));
            y += BAR;
        }
    }
    let height = y + 20.0;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12" role="img" aria-label="Requests a second">
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="16" y="24" font-size="16" font-weight="bold">Requests a second</text>
<text x="16" y="42" fill="#52606d">{}, {}; the load on the same cores</text>
{body}</svg>
"##,
        escaped(&machine.date),
        escaped(&machine.words())
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// With a space between thousands.
fn grouped(rate: f64) -> String {
    let digits = format!("{rate:.0}");
    let count = digits.len();
    digits.chars().enumerate().fold(String::new(), |mut text, (at, digit)| {
        if at > 0 && (count - at) % 3 == 0 {
            text.push('\u{2009}');
        }
        text.push(digit);
        text
    })
}
