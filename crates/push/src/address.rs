//! Which addresses something may be sent to. Tenants choose where, so it must be nowhere that only the gateway reaches.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use calldata_core::webhook::{UrlHost, WebhookUrl};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Networks that are not the internet, and what is special in it (the registries of special-purpose addresses at IANA).
const REFUSED_V4: [([u8; 4], u8); 17] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    // Shared by the customers of a provider.
    ([100, 64, 0, 0], 10),
    ([127, 0, 0, 0], 8),
    // A virtual machine finds what describes it, with its credentials, at 169.254.169.254,
    ([169, 254, 0, 0], 16),
    // and in one cloud at this address.
    ([168, 63, 129, 16], 32),
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    // Documentation.
    ([192, 0, 2, 0], 24),
    // Relays to 6to4.
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    // Measurements.
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    // Multicast.
    ([224, 0, 0, 0], 4),
    // Reserved, and broadcast.
    ([240, 0, 0, 0], 4),
    ([255, 255, 255, 255], 32),
];

/// All of IPv6 that is given out. Outside of it are loopback, link-local and unique local addresses, multicast, and those that stand
/// for an IPv4 address: `::ffff:…`, `::…`, `64:ff9b::…`.
const GLOBAL_V6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

const REFUSED_V6: [(Ipv6Addr, u8); 4] = [
    // Protocols of their own; among them Teredo, which stands for an IPv4 address.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    // Documentation.
    (Ipv6Addr::new(0x2001, 0x0db8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
    // 6to4, which stands for an IPv4 address.
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
];

/// Where the operator allows webhooks to be sent.
#[derive(Clone, Debug, Default)]
pub struct EndpointPolicy {
    allowed: Vec<IpNet>,
    denied: Vec<IpNet>,
    hosts: Vec<HostPattern>,
}

impl EndpointPolicy {
    /// Allows these networks besides the internet.
    pub fn new(allowed: Vec<IpNet>) -> Self {
        Self { allowed, ..Self::default() }
    }

    /// Denies these networks, whatever else allows them.
    #[must_use]
    pub fn denying(self, denied: Vec<IpNet>) -> Self {
        Self { denied, ..self }
    }

    /// Allows no other hosts than these; all where there is none.
    #[must_use]
    pub fn only_hosts(self, hosts: Vec<HostPattern>) -> Self {
        Self { hosts, ..self }
    }

    /// A network that is allowed and denied as a whole, which cannot be meant.
    pub fn contradiction(&self) -> Option<IpNet> {
        self.allowed.iter().copied().find(|allowed| self.denied.iter().any(|denied| denied.contains(allowed)))
    }

    /// Whether something may be sent to that address.
    pub fn allow(&self, address: IpAddr) -> bool {
        let is_global = match address {
            IpAddr::V4(address) => is_global_v4(address),
            IpAddr::V6(address) => is_global_v6(address),
        };
        let is_in = |networks: &[IpNet]| networks.iter().any(|network| network.contains(&address));
        (is_global || is_in(&self.allowed)) && !is_in(&self.denied) && !is_in_denied_v4(&self.denied, address)
    }

    /// Whether something may be sent to a host, as far as its URL tells; what a name stands for is judged when something is sent.
    pub fn allow_host(&self, host: UrlHost<'_>) -> bool {
        match host {
            // Where hosts are listed, an address is one only if its network is listed too.
            UrlHost::Address(address) => {
                let is_listed = self.hosts.is_empty() || self.allowed.iter().any(|network| network.contains(&address));
                is_listed && self.allow(address)
            }
            UrlHost::Name(name) => self.hosts.is_empty() || self.hosts.iter().any(|pattern| pattern.matches(name)),
        }
    }
}

/// An IPv4 address that is written as an IPv6 one is denied as what it stands for.
fn is_in_denied_v4(denied: &[IpNet], address: IpAddr) -> bool {
    let canonical = address.to_canonical();
    canonical != address && denied.iter().any(|network| network.contains(&canonical))
}

/// A host name, or all names below one: `hooks.example.com`, `*.example.com`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPattern {
    name: String,
    below: bool,
}

/// The text is no host name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidHostPattern;

impl fmt::Display for InvalidHostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("must be a host name such as hooks.example.com, or *.example.com for all below it")
    }
}

impl std::error::Error for InvalidHostPattern {}

impl HostPattern {
    fn matches(&self, name: &str) -> bool {
        let name = name.strip_suffix('.').unwrap_or(name);
        if self.below {
            name.strip_suffix(self.name.as_str()).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
        } else {
            name == self.name
        }
    }
}

impl FromStr for HostPattern {
    type Err = InvalidHostPattern;

    fn from_str(text: &str) -> Result<Self, InvalidHostPattern> {
        let (below, name) = text.strip_prefix("*.").map_or((false, text), |name| (true, name));
        // As URLs have it: in lower case, international names in ASCII.
        let url = WebhookUrl::parse(&format!("https://{name}/")).map_err(|_| InvalidHostPattern)?;
        let UrlHost::Name(host) = url.host() else { return Err(InvalidHostPattern) };
        let is_name = name.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.')) && !host.ends_with('.');
        is_name.then(|| Self { name: host.to_owned(), below }).ok_or(InvalidHostPattern)
    }
}

fn is_global_v4(address: Ipv4Addr) -> bool {
    let within = |(network, bits): ([u8; 4], u8)| Ipv4Net::new(network.into(), bits).is_ok_and(|network| network.contains(&address));
    !REFUSED_V4.into_iter().any(within)
}

fn is_global_v6(address: Ipv6Addr) -> bool {
    let within = |(network, bits)| Ipv6Net::new(network, bits).is_ok_and(|network| network.contains(&address));
    within(GLOBAL_V6) && !REFUSED_V6.into_iter().any(within)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_denied_is_denied_whatever_allows_it() {
        let networks = |networks: &[&str]| networks.iter().map(|network| network.parse().unwrap()).collect::<Vec<IpNet>>();
        let policy =
            EndpointPolicy::new(networks(&["10.0.0.0/8", "::/0"])).denying(networks(&["10.9.0.0/16", "8.8.8.0/24", "2606:4700::/32"]));
        for fine in ["10.1.0.1", "8.8.4.4", "2001:4860::1"] {
            assert!(policy.allow(fine.parse().unwrap()), "{fine}");
        }
        for denied in ["10.9.0.1", "8.8.8.8", "::ffff:8.8.8.8", "2606:4700::1", "192.168.0.1"] {
            assert!(!policy.allow(denied.parse().unwrap()), "{denied}");
        }
    }

    #[test]
    fn where_hosts_are_listed_no_other_is_allowed() {
        let hosts = ["hooks.example.com", "*.Example.org", "bücher.example"].map(|host| host.parse().unwrap()).to_vec();
        let policy = EndpointPolicy::new(vec!["10.0.0.0/8".parse().unwrap()]).only_hosts(hosts);
        let allows = |url: &str| policy.allow_host(WebhookUrl::parse(url).unwrap().host());
        for fine in
            ["https://hooks.example.com/x", "http://HOOKS.example.com.:1/", "https://a.b.example.org", "https://xn--bcher-kva.example"]
        {
            assert!(allows(fine), "{fine}");
        }
        for other in
            ["https://example.com", "https://a.hooks.example.com", "https://example.org", "https://notexample.org", "https://8.8.8.8"]
        {
            assert!(!allows(other), "{other}");
        }
        assert!(allows("https://10.0.0.1"), "its network is listed");
        assert!(EndpointPolicy::default().allow_host(UrlHost::Name("any.example")));
        for none in [
            "",
            "*",
            "*.",
            "https://example.com",
            "example.com/x",
            "example.com:1",
            "10.0.0.1",
            "[::1]",
            "a b",
            "u@example.com",
            "*.*.example",
            "a.*",
        ] {
            assert_eq!(none.parse::<HostPattern>(), Err(InvalidHostPattern), "{none}");
        }
    }

    fn allowed(networks: &[&str]) -> EndpointPolicy {
        EndpointPolicy::new(networks.iter().map(|network| network.parse().unwrap()).collect())
    }

    fn allows(networks: &EndpointPolicy, address: &str) -> bool {
        networks.allow(address.parse().unwrap())
    }

    const NOWHERE: [&str; 62] = [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "10.255.255.255",
        "100.64.0.1",
        "100.100.100.200",
        "100.127.255.255",
        "127.0.0.1",
        "127.255.255.254",
        "169.254.0.1",
        "169.254.169.254",
        "168.63.129.16",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.0.170",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.0.1",
        "192.168.255.255",
        "198.18.0.1",
        "198.19.255.255",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::2",
        // Of an IPv4 address: compatible, mapped, translated.
        "::127.0.0.1",
        "::10.0.0.1",
        "::8.8.8.8",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:8.8.8.8",
        "::ffff:0:8.8.8.8",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b::808:808",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "2002:808:808::1",
        "2001::1",
        "2001:0:7f00:1::",
        "2001:2::1",
        "2001:10::1",
        "2001:20::1",
        "2001:db8::1",
        "3fff::1",
        "100::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fdff:ffff::1",
        "fe80::1",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
    ];

    #[test]
    fn nothing_is_sent_to_what_is_not_the_internet() {
        for address in NOWHERE {
            assert!(!allows(&EndpointPolicy::default(), address), "{address}");
        }
    }

    #[test]
    fn the_internet_is_everything_else_up_to_its_edges() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2000::1",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2606:4700:4700::1111",
            "2a01::1",
            "3ffe::1",
        ] {
            assert!(allows(&EndpointPolicy::default(), address), "{address}");
        }
    }

    #[test]
    fn spellings_of_a_url_lead_nowhere_else() {
        for url in [
            "http://0x7f.1/",
            "http://0177.1/",
            "http://2130706433/",
            "http://0/",
            "http://127.0.0.1./",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://[0:0:0:0:0:ffff:10.0.0.1]/",
            "http://[64:ff9b::127.0.0.1]/",
            "http://①⑥⑨.254.169.254/",
            "http://169.254.43518/",
            "http://0xa9fea9fe/latest/meta-data/",
        ] {
            let url = WebhookUrl::parse(url).unwrap();
            match url.host() {
                UrlHost::Address(address) => assert!(!EndpointPolicy::default().allow(address), "{url:?}"),
                UrlHost::Name(_) => panic!("{url:?} is no name"),
            }
        }
    }

    #[test]
    fn an_operator_allows_networks_and_nothing_beside_them() {
        let networks = allowed(&["10.1.0.0/16", "127.0.0.1/32", "fd00::/8"]);
        for address in ["10.1.2.3", "127.0.0.1", "fd12::1", "8.8.8.8"] {
            assert!(allows(&networks, address), "{address}");
        }
        for address in ["10.2.0.1", "127.0.0.2", "fc00::1", "::1", "::ffff:10.1.2.3", "64:ff9b::a01:203", "169.254.169.254"] {
            assert!(!allows(&networks, address), "{address}");
        }
    }

    proptest! {
        /// The standard library knows some of it by itself.
        #[test]
        fn what_the_standard_library_calls_private_is_refused(bits: u32) {
            let address = Ipv4Addr::from(bits);
            let special = address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_multicast()
                || address.is_broadcast()
                || address.is_documentation()
                || address.is_unspecified();
            prop_assert!(!(special && EndpointPolicy::default().allow(address.into())));
            prop_assert!(!EndpointPolicy::default().allow(address.to_ipv6_mapped().into()));
            prop_assert!(!EndpointPolicy::default().allow(address.to_ipv6_compatible().into()));
        }
    }
}
