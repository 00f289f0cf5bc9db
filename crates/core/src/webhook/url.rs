//! Where events are sent.

use std::fmt;
use std::net::IpAddr;

use ::url::{Host, Url};

/// The longest URL of an endpoint in bytes.
pub const MAX_URL_BYTES: usize = 2_048;

/// The URL of an endpoint: `http` or `https`, with a host, without a name and password. Written as browsers would write it, so that
/// an address has one spelling. Its path and query may hold a secret: only the host is ever shown.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookUrl(Url);

/// Why a text cannot be the URL of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// It is no URL.
    #[error("is no URL")]
    NoUrl,
    /// It is longer than [`MAX_URL_BYTES`].
    #[error("is longer than {MAX_URL_BYTES} bytes")]
    TooLong,
    /// It begins with something else than `http://` or `https://`.
    #[error("must begin with http:// or https://")]
    Scheme,
    /// It holds a name or a password.
    #[error("must not hold a name and password")]
    Credentials,
    /// It names an address that nothing is sent to.
    #[error("names an address that nothing is sent to")]
    RefusedAddress,
    /// It names a host that the operator does not allow.
    #[error("names a host that the operator does not allow")]
    RefusedHost,
}

/// What a URL names as its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlHost<'a> {
    /// A name that has to be looked up.
    Name(&'a str),
    /// An address.
    Address(IpAddr),
}

impl WebhookUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// When it cannot be the URL of an endpoint.
    pub fn parse(text: &str) -> Result<Self, InvalidUrl> {
        if text.len() > MAX_URL_BYTES {
            return Err(InvalidUrl::TooLong);
        }
        let mut url = Url::parse(text).map_err(|_| InvalidUrl::NoUrl)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(InvalidUrl::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidUrl::Credentials);
        }
        // Nobody sends it.
        url.set_fragment(None);
        // What was escaped meanwhile takes more room.
        if url.as_str().len() > MAX_URL_BYTES {
            return Err(InvalidUrl::TooLong);
        }
        if url.host().is_none() || url.port_or_known_default().is_none_or(|port| port == 0) {
            return Err(InvalidUrl::NoUrl);
        }
        Ok(Self(url))
    }

    /// All of it.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether the endpoint has to prove who it is.
    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// Its host.
    pub fn host(&self) -> UrlHost<'_> {
        match self.0.host() {
            Some(Host::Domain(name)) => UrlHost::Name(name),
            Some(Host::Ipv4(address)) => UrlHost::Address(address.into()),
            Some(Host::Ipv6(address)) => UrlHost::Address(address.into()),
            None => UrlHost::Name(""),
        }
    }

    /// Its host as text, which may be logged.
    pub fn host_text(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }

    /// Its port: as written, or that of its scheme.
    pub fn port(&self) -> u16 {
        self.0.port_or_known_default().unwrap_or_default()
    }

    /// Host and port as a client names them to the server: the port only where it is not that of the scheme.
    pub fn authority(&self) -> String {
        match self.0.port() {
            Some(port) => format!("{}:{port}", self.host_text()),
            None => self.host_text().to_owned(),
        }
    }

    /// What is asked of the server: path and query.
    pub fn target(&self) -> &str {
        &self.0[::url::Position::BeforePath..::url::Position::AfterQuery]
    }
}

impl fmt::Debug for WebhookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WebhookUrl({}://{}…)", self.0.scheme(), self.host_text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> WebhookUrl {
        WebhookUrl::parse(text).unwrap()
    }

    #[test]
    fn parts_of_a_url() {
        let hook = url("https://Example.COM/in?token=s#fragment");
        assert_eq!(hook.as_str(), "https://example.com/in?token=s");
        assert!(hook.is_https());
        assert_eq!(hook.host(), UrlHost::Name("example.com"));
        assert_eq!((hook.port(), hook.authority().as_str(), hook.target()), (443, "example.com", "/in?token=s"));
        let hook = url("http://[2001:DB8::1]:8080");
        assert!(!hook.is_https());
        assert_eq!(hook.host(), UrlHost::Address("2001:db8::1".parse().unwrap()));
        assert_eq!((hook.port(), hook.authority().as_str(), hook.target()), (8080, "[2001:db8::1]:8080", "/"));
        assert_eq!(url("https://bücher.example/").host(), UrlHost::Name("xn--bcher-kva.example"));
    }

    #[test]
    fn an_address_is_recognised_in_every_spelling() {
        for (spelling, address) in [
            ("http://127.1/", "127.0.0.1"),
            ("http://0x7f.1/", "127.0.0.1"),
            ("http://0177.0.0.1/", "127.0.0.1"),
            ("http://2130706433/", "127.0.0.1"),
            ("http://0x7F000001/", "127.0.0.1"),
            ("http://１２７.0.0.1/", "127.0.0.1"),
            ("http://127.0.0.1./", "127.0.0.1"),
            ("http://%31%32%37.0.0.1/", "127.0.0.1"),
            ("http://[::ffff:127.0.0.1]/", "::ffff:127.0.0.1"),
            ("http://[0:0:0:0:0:0:0:1]/", "::1"),
            ("http:\\\\10.0.0.1\\", "10.0.0.1"),
            ("http:10.0.0.1", "10.0.0.1"),
        ] {
            assert_eq!(url(spelling).host(), UrlHost::Address(address.parse().unwrap()), "{spelling}");
        }
        assert_eq!(url("http://localhost./").host(), UrlHost::Name("localhost."));
    }

    #[test]
    fn what_is_no_url_of_an_endpoint_is_refused() {
        for (text, why) in [
            ("", InvalidUrl::NoUrl),
            ("example.com/in", InvalidUrl::NoUrl),
            ("https://", InvalidUrl::NoUrl),
            ("https://exa mple/", InvalidUrl::NoUrl),
            ("https://example.com:99999/", InvalidUrl::NoUrl),
            ("https://example.com:0/", InvalidUrl::NoUrl),
            ("http://256.0.0.1/", InvalidUrl::NoUrl),
            ("ftp://example.com/", InvalidUrl::Scheme),
            ("file:///etc/passwd", InvalidUrl::Scheme),
            ("gopher://127.0.0.1:25/", InvalidUrl::Scheme),
            ("ws://example.com/", InvalidUrl::Scheme),
            ("https://user@example.com/", InvalidUrl::Credentials),
            ("https://user:hush@example.com/", InvalidUrl::Credentials),
            ("https://:hush@example.com/", InvalidUrl::Credentials),
            ("http://example.com\\@127.0.0.1:80@evil/", InvalidUrl::NoUrl),
        ] {
            match WebhookUrl::parse(text) {
                Err(told) => assert_eq!(told, why, "{text}"),
                // What stands behind a backslash is a path.
                Ok(read) => assert_eq!((why, read.host()), (InvalidUrl::NoUrl, UrlHost::Name("example.com")), "{text}"),
            }
        }
        let of_length = |length: usize| format!("https://example.com/{}", "x".repeat(length - 20));
        assert!(WebhookUrl::parse(&of_length(MAX_URL_BYTES)).is_ok());
        assert_eq!(WebhookUrl::parse(&of_length(MAX_URL_BYTES + 1)), Err(InvalidUrl::TooLong));
        assert_eq!(WebhookUrl::parse(&format!("https://example.com/{}", "ü".repeat(1_000))), Err(InvalidUrl::TooLong), "once escaped");
    }

    #[test]
    fn neither_path_nor_query_is_shown() {
        let shown = format!("{:?}", url("https://example.com/hush?token=hush"));
        assert!(shown.contains("example.com") && !shown.contains("hush"), "{shown}");
    }
}
