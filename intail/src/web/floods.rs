//! Floods at the way in: everybody may begin to sign in, and each beginning is a row. So a client begins only so
//! often, and all of them together too. Who begins a few times, as people do, is counted apart from who does so again
//! and again: a handful of machines that do can't keep anybody else out. What is remembered of clients is bounded, and
//! who isn't remembered counts with the busy.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};

use crate::org::audit::Origin;

/// The time in which beginnings are counted.
const WINDOW: SignedDuration = SignedDuration::from_mins(1);
/// Beginnings of one client in [`WINDOW`]: a large office behind one address, on a Monday morning.
const OF_ONE_MAX: u32 = 240;
/// Beginnings after which a client is busy: one person's slips and second tries.
const FEW: u32 = 5;
/// Beginnings of all busy clients in [`WINDOW`], and as many of all others: more would be rows that nobody needs.
const OF_ALL_MAX: u32 = 1_200;
/// Bits of an address of IPv6 that a client may choose.
const IPV6_HOST_BITS: u32 = 72;
/// Clients that are remembered in one window.
const CLIENTS_MAX: usize = 10_000;

/// Counts who begins to sign in.
#[derive(Default)]
pub(super) struct Floods(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    since: Timestamp,
    of_busy: u32,
    of_others: u32,
    clients: HashMap<IpAddr, u32>,
}

impl Floods {
    /// Counts one more beginning; answers whether it may go on.
    pub(super) fn admits(&self, origin: Origin, now: Timestamp) -> bool {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(counted.since).abs() >= WINDOW {
            *counted = Counted { since: now, ..Counted::default() };
        }
        let mut is_busy = true;
        if let Origin::Address(address) = origin {
            let client = client(address);
            let is_known = counted.clients.contains_key(&client);
            if is_known || counted.clients.len() < CLIENTS_MAX {
                let of_one = counted.clients.entry(client).or_default();
                if *of_one >= OF_ONE_MAX {
                    return false;
                }
                *of_one += 1;
                is_busy = *of_one > FEW;
            }
        }
        let Counted { of_busy, of_others, .. } = &mut *counted;
        let of_all = if is_busy { of_busy } else { of_others };
        if *of_all >= OF_ALL_MAX {
            return false;
        }
        *of_all += 1;
        true
    }
}

/// Whom an address stands for. One client of IPv6 has a network of addresses: homes get up to the upper 56 bits.
fn client(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(it) => IpAddr::V6(Ipv6Addr::from_bits(it.to_bits() >> IPV6_HOST_BITS << IPV6_HOST_BITS)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_us;

    fn at(second: i64) -> Timestamp {
        from_us(second * 1_000_000)
    }

    fn from(text: &str) -> Origin {
        Origin::Address(text.parse().expect("an address"))
    }

    #[test]
    fn one_client_is_held_back_without_the_others_and_for_a_minute() {
        let floods = Floods::default();
        let (one, same) = (from("2001:db8::1"), from("2001:db8:0:ff::ffff:2"));
        for _ in 0..OF_ONE_MAX {
            assert!(floods.admits(one, at(100)));
        }
        assert!(!floods.admits(one, at(100)) && !floods.admits(same, at(159)));
        assert!(floods.admits(from("192.0.2.7"), at(159)));
        assert!(floods.admits(one, at(160)));
    }

    #[test]
    fn a_handful_of_busy_clients_keeps_nobody_else_out() {
        let floods = Floods::default();
        let busy: Vec<Origin> = (0..9).map(|it| from(&format!("198.51.100.{it}"))).collect();
        let admitted = (0..OF_ONE_MAX).flat_map(|_| &busy).filter(|it| floods.admits(**it, at(100))).count();
        assert_eq!(admitted, usize::try_from(OF_ALL_MAX + 9 * FEW).expect("small"));
        assert!(!floods.admits(Origin::Unknown, at(100)), "who can't be told apart counts with the busy");
        for _ in 0..FEW {
            assert!(floods.admits(from("192.0.2.7"), at(100)));
        }
        assert!(!floods.admits(from("192.0.2.7"), at(100)));
    }

    #[test]
    fn all_together_are_held_back_and_little_is_remembered() {
        let floods = Floods::default();
        for count in 0..OF_ALL_MAX {
            let address = IpAddr::from((0x0a00_0000 + count).to_be_bytes());
            assert!(floods.admits(Origin::Address(address), at(100)));
        }
        assert!(!floods.admits(from("192.0.2.7"), at(100)));
        for count in 0..20_000_u32 {
            floods.admits(Origin::Address(IpAddr::from((0x0b00_0000 + count).to_be_bytes())), at(101));
        }
        let remembered = floods.0.lock().expect("unpoisoned").clients.len();
        assert_eq!(remembered, CLIENTS_MAX);
        assert!(floods.admits(Origin::Unknown, at(160)));
    }
}
