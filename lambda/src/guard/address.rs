//! Which addresses are special: everything that is not the public Internet.
//!
//! IPv4: the IANA special-purpose registry, and what clouds put their metadata at. IPv6 by an allow rule: only
//! `2000::/3` is public, less its own special ranges. Addresses that carry an IPv4 address inside (mapped, translated,
//! NAT64, 6to4, Teredo) are special as they stand: they are never unwrapped, and no setting opens them, for what they
//! reach is not what they say.
//!
//! Sources: IANA IPv4 and IPv6 special-purpose address registries; the providers' documents for metadata.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A range of addresses that are not public.
#[derive(Debug)]
pub(super) struct SpecialRange {
    net: IpNet,
    /// What messages call it.
    pub(super) name: &'static str,
    openable: bool,
}

impl SpecialRange {
    /// Whether `cidr`, from the settings, opens this range: only one that lies within it was meant for it.
    pub(super) fn is_opened_by(&self, cidr: &IpNet) -> bool {
        self.openable && self.net.contains(cidr)
    }
}

/// The narrowest special range that holds `addr`; none: it is public.
pub(super) fn special_range(addr: IpAddr) -> Option<&'static SpecialRange> {
    SPECIAL.iter().filter(|range| range.net.contains(&addr)).max_by_key(|range| range.net.prefix_len())
}

const fn v4(octets: [u8; 4], prefix: u8, name: &'static str) -> SpecialRange {
    let [a, b, c, d] = octets;
    SpecialRange {
        net: IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)),
        name,
        openable: true,
    }
}

/// The first four of the eight groups; the others are 0.
const fn v6(groups: [u16; 4], prefix: u8, name: &'static str) -> SpecialRange {
    let [a, b, c, d] = groups;
    let net = IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), prefix));
    SpecialRange { net, name, openable: true }
}

const fn v6_host(addr: Ipv6Addr, name: &'static str) -> SpecialRange {
    SpecialRange { net: IpNet::V6(Ipv6Net::new_assert(addr, 128)), name, openable: true }
}

/// Addresses with an IPv4 address inside: never opened.
const fn carrier(addr: Ipv6Addr, prefix: u8) -> SpecialRange {
    SpecialRange { net: IpNet::V6(Ipv6Net::new_assert(addr, prefix)), name: "IPv4-carrying", openable: false }
}

const METADATA: &str = "metadata";

static SPECIAL: &[SpecialRange] = &[
    v4([0, 0, 0, 0], 8, "this-network"),
    v4([10, 0, 0, 0], 8, "private"),
    v4([100, 64, 0, 0], 10, "CGNAT"),
    v4([100, 100, 100, 200], 32, METADATA), // Alibaba Cloud
    v4([127, 0, 0, 0], 8, "loopback"),
    v4([168, 63, 129, 16], 32, METADATA), // Azure
    v4([169, 254, 0, 0], 16, "link-local"),
    v4([169, 254, 0, 23], 32, METADATA),   // Tencent Cloud
    v4([169, 254, 169, 0], 24, METADATA),  // .254 most clouds; .253 DNS and .123 time of AWS
    v4([169, 254, 170, 2], 32, METADATA),  // credentials of ECS tasks
    v4([169, 254, 170, 23], 32, METADATA), // credentials of EKS pods
    v4([172, 16, 0, 0], 12, "private"),
    v4([192, 0, 0, 0], 24, "protocol-assignment"),
    v4([192, 0, 0, 192], 32, METADATA), // Oracle Cloud
    v4([192, 0, 2, 0], 24, "documentation"),
    v4([192, 31, 196, 0], 24, "AS112"),
    v4([192, 52, 193, 0], 24, "AMT relay"),
    v4([192, 88, 99, 0], 24, "6to4 relay"),
    v4([192, 168, 0, 0], 16, "private"),
    v4([192, 175, 48, 0], 24, "AS112"),
    v4([198, 18, 0, 0], 15, "benchmarking"),
    v4([198, 51, 100, 0], 24, "documentation"),
    v4([203, 0, 113, 0], 24, "documentation"),
    v4([224, 0, 0, 0], 4, "multicast"),
    v4([240, 0, 0, 0], 4, "reserved"),
    v4([255, 255, 255, 255], 32, "broadcast"),
    // All that is not 2000::/3.
    v6([0, 0, 0, 0], 3, "reserved"),
    v6([0x4000, 0, 0, 0], 2, "reserved"),
    v6([0x8000, 0, 0, 0], 1, "reserved"),
    v6_host(Ipv6Addr::UNSPECIFIED, "unspecified"),
    v6_host(Ipv6Addr::LOCALHOST, "loopback"),
    carrier(Ipv6Addr::UNSPECIFIED, 96), // IPv4-compatible
    carrier(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96), // IPv4-mapped
    carrier(Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96), // IPv4-translated
    carrier(Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96), // NAT64
    carrier(Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48), // NAT64, local use
    carrier(Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32), // Teredo
    carrier(Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16), // 6to4
    v6([0x100, 0, 0, 0], 64, "discard-only"),
    v6([0x2001, 0, 0, 0], 23, "protocol-assignment"),
    v6([0x2001, 0xdb8, 0, 0], 32, "documentation"),
    v6([0x2620, 0x4f, 0x8000, 0], 48, "AS112"),
    v6([0x3fff, 0, 0, 0], 20, "documentation"),
    v6([0x5f00, 0, 0, 0], 16, "segment-routing"),
    v6([0xfc00, 0, 0, 0], 7, "private"),
    v6([0xfd00, 0xec2, 0, 0], 32, METADATA), // AWS
    v6([0xfd20, 0xce, 0, 0], 32, METADATA),  // Google Cloud
    v6([0xfe80, 0, 0, 0], 10, "link-local"),
    v6([0xfec0, 0, 0, 0], 10, "site-local"),
    v6([0xff00, 0, 0, 0], 8, "multicast"),
];
