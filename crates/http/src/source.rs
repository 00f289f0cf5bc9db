//! Where a request comes from: the peer of the connection, or whom a trusted proxy names.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use axum::http::{HeaderMap, HeaderName, header};
use ipnet::IpNet;
use serde::Deserialize;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address that a request comes from, IPv4 never written as IPv6. The server puts it beside every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source(pub IpAddr);

impl Source {
    /// What is counted as one source: an address of IPv4, or of IPv6 its /64, all of which whoever has one address has.
    pub fn network(self) -> IpAddr {
        match self.0.to_canonical() {
            address @ IpAddr::V4(_) => address,
            IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        }
    }
}

/// The server puts it beside a request that a trusted proxy hands on: what its headers say of where it comes from is believed.
#[derive(Clone, Copy, Debug)]
pub struct TrustedPeer;

/// The networks of the proxies that are believed; none unless they are named.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies(Vec<Network>);

/// A network, or a single address.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub struct Network(IpNet);

/// The text is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an address or a network such as 10.0.0.0/8 or fd00::/8")]
pub struct NoNetwork;

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let single = |text: &str| text.parse::<IpAddr>().map(|address| IpNet::from(address.to_canonical()));
        text.parse().or_else(|_| single(text)).map(Self).map_err(|_| NoNetwork)
    }
}

impl Network {
    /// Whether every address of its family belongs to it.
    pub fn is_everything(&self) -> bool {
        self.0.prefix_len() == 0
    }
}

impl From<Network> for IpNet {
    fn from(network: Network) -> Self {
        network.0
    }
}

impl TryFrom<String> for Network {
    type Error = NoNetwork;

    fn try_from(text: String) -> Result<Self, NoNetwork> {
        text.parse()
    }
}

impl TrustedProxies {
    /// The proxies in these networks.
    pub fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    /// Where a request comes from that arrived from `peer` with these headers.
    ///
    /// A header is believed only from a trusted peer, and of its addresses the last one that is no trusted proxy's: what stands
    /// before that one was written by whoever sent it. `Forwarded` counts where there is no `X-Forwarded-For`. What cannot be read is
    /// as good as absent.
    pub fn source(&self, peer: IpAddr, headers: &HeaderMap) -> Source {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return Source(peer);
        }
        let (name, read): (_, fn(&str) -> Option<IpAddr>) =
            if headers.contains_key(X_FORWARDED_FOR) { (X_FORWARDED_FOR, address) } else { (header::FORWARDED, forwarded_for) };
        let mut found = peer;
        for value in headers.get_all(name).iter().rev() {
            let Ok(value) = value.to_str() else { return Source(peer) };
            for hop in value.rsplit(',') {
                let Some(address) = read(hop.trim()) else { return Source(peer) };
                found = address.to_canonical();
                if !self.trusts(found) {
                    return Source(found);
                }
            }
        }
        Source(found)
    }

    /// Whether a request whose connection comes from `peer` says where it comes from, and is not believed. To be asked of requests whose
    /// headers [`TrustedProxies::source`] passed over.
    pub fn ignores(&self, peer: IpAddr, headers: &HeaderMap) -> bool {
        (headers.contains_key(X_FORWARDED_FOR) || headers.contains_key(header::FORWARDED)) && !self.trusts(peer)
    }

    /// Whether this address is a trusted proxy's.
    pub fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.0.contains(&address))
    }
}

/// An address, alone or with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip())).or_else(bracketed)
}

/// The address that one element of `Forwarded` names.
fn forwarded_for(element: &str) -> Option<IpAddr> {
    let mut pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.eq_ignore_ascii_case("for"))?;
    address(value.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(peer: &str, headers: &[(&'static str, &str)]) -> String {
        let trusted = TrustedProxies::new(["10.0.0.0/8", "127.0.0.1", "fd00::/8"].map(|network| network.parse().unwrap()).into());
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        trusted.source(peer.parse().unwrap(), &map).0.to_string()
    }

    #[test]
    fn a_header_is_believed_only_from_a_trusted_proxy() {
        let forged = [("x-forwarded-for", "203.0.113.9"), ("forwarded", "for=203.0.113.9")];
        assert_eq!(source("192.0.2.1", &forged), "192.0.2.1");
        assert_eq!(source("::ffff:192.0.2.1", &forged), "192.0.2.1");
        assert_eq!(source("10.1.2.3", &forged), "203.0.113.9");
        assert_eq!(source("::ffff:10.1.2.3", &forged[..1]), "203.0.113.9", "the same proxy, otherwise written");
        assert_eq!(source("10.1.2.3", &[]), "10.1.2.3");
        let nobody = TrustedProxies::default().source("10.1.2.3".parse().unwrap(), &HeaderMap::new());
        assert_eq!(nobody.0.to_string(), "10.1.2.3");
    }

    #[test]
    fn of_several_addresses_the_last_one_that_is_no_proxy_counts() {
        let from = |value| source("10.1.2.3", &[("x-forwarded-for", value)]);
        assert_eq!(from("198.51.100.7, 203.0.113.9, 10.9.9.9,fd00::1"), "203.0.113.9", "what stands before was sent by the client");
        assert_eq!(from("203.0.113.9:4711"), "203.0.113.9");
        assert_eq!(from("[2001:db8::1]:4711"), "2001:db8::1");
        assert_eq!(from("::ffff:203.0.113.9"), "203.0.113.9");
        assert_eq!(from("10.0.0.1, 10.0.0.2"), "10.0.0.1", "an inner client");
        let two = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "198.51.100.7")];
        assert_eq!(source("10.1.2.3", &two), "198.51.100.7", "the line that was added last");
    }

    #[test]
    fn forwarded_counts_where_there_is_no_older_header() {
        let from = |value| source("10.1.2.3", &[("forwarded", value)]);
        assert_eq!(from("for=198.51.100.7, proto=https;For=\"[2001:db8::1]:4711\";by=10.0.0.1"), "2001:db8::1");
        assert_eq!(from("for=203.0.113.9"), "203.0.113.9");
        assert_eq!(source("10.1.2.3", &[("forwarded", "for=203.0.113.9"), ("x-forwarded-for", "198.51.100.7")]), "198.51.100.7");
    }

    #[test]
    fn what_cannot_be_read_leaves_the_peer() {
        for broken in ["", "unknown", "203.0.113.9, ", "203.0.113.9 198.51.100.7", "999.1.1.1", "\u{e9}"] {
            assert_eq!(source("10.1.2.3", &[("x-forwarded-for", broken)]), "10.1.2.3", "{broken:?}");
        }
        for broken in ["for=unknown", "for=_hidden", "by=203.0.113.9", "203.0.113.9"] {
            assert_eq!(source("10.1.2.3", &[("forwarded", broken)]), "10.1.2.3", "{broken:?}");
        }
    }

    #[test]
    fn networks_and_single_addresses_are_read() {
        for network in ["10.0.0.0/8", "10.0.0.1", "::1", "fd00::/8", "::ffff:10.0.0.1"] {
            assert!(network.parse::<Network>().is_ok(), "{network}");
        }
        for none in ["", "10.0.0.0/33", "proxy", "10.0.0"] {
            assert_eq!(none.parse::<Network>(), Err(NoNetwork), "{none}");
        }
    }
}
