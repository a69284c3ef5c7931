//! What a stream cost within the last minute, as whoever works on it next has to know: each time with its units, so
//! that every unit leaves Google's minute when it is over, however often a stream changes hands meanwhile. One sum with
//! the time of the last hand-over would count what is long over anew with each.

use std::fmt::{self, Display};
use std::num::ParseIntError;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};

use crate::clock::from_us;

/// What was spent within this is told as one, at the latest of its times: a row holds thirteen of them at most. It
/// begins at the same instants for everybody, so that telling it again changes nothing.
const GRAIN: SignedDuration = SignedDuration::from_secs(5);

/// The number of the grain that an instant lies in: the same for a unit, whoever tells of it, and however often.
pub fn grain(at: Timestamp) -> i64 {
    at.as_second().div_euclid(GRAIN.as_secs())
}

/// Less is spent than the prices allow, because Google refused although there was room by our count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Correction {
    /// How much less, in thousandths.
    pub less: u64,
    /// Until when.
    pub until: Timestamp,
}

/// Fewer calls are made at the same time, because Google found them too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AtOnce {
    /// How many.
    pub calls: u32,
    /// Since when.
    pub since: Timestamp,
}

/// When how many quota units were spent, earliest first, and what was learned of the limits meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spending {
    times: Vec<(Timestamp, u64)>,
    correction: Option<Correction>,
    at_once: Option<AtOnce>,
}

impl Spending {
    /// All of it at one time.
    pub fn once(at: Timestamp, units: u64) -> Self {
        Self { times: vec![(at, units)], ..Self::default() }
    }

    /// With what was learned of the limit of a minute, and of that of calls at the same time.
    pub fn corrected(self, correction: Option<Correction>, at_once: Option<AtOnce>) -> Self {
        Self { correction, at_once, ..self }
    }

    /// What was learned of the limit of a minute.
    pub fn correction(&self) -> Option<Correction> {
        self.correction
    }

    /// What was learned of the limit of calls at the same time.
    pub fn at_once(&self) -> Option<AtOnce> {
        self.at_once
    }

    /// What is added must not be earlier than what is there.
    pub fn add(&mut self, at: Timestamp, units: u64) {
        if units == 0 {
            return;
        }
        match self.times.last_mut() {
            Some((last, sum)) if grain(*last) == grain(at) => {
                *last = at;
                *sum = sum.saturating_add(units);
            }
            _ => self.times.push((at, units)),
        }
    }

    /// Each time with its units, earliest first.
    pub fn each(&self) -> impl DoubleEndedIterator<Item = (Timestamp, u64)> {
        self.times.iter().copied()
    }
}

/// What stands before the number of calls at the same time, in the place of thousandths, which are a thousand at most.
const AT_ONCE: u64 = 1_000;

/// As a column holds it: `microseconds:units`, one after the other. Before them stands what was learned of the minute's
/// limit as `-thousandths:microseconds`, which an Intail that knows nothing of it takes for units of long ago; first of
/// all comes the number of calls at the same time, plus a thousand: to an older Intail, a correction that is over.
impl Display for Spending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut space = "";
        if let Some(it) = self.at_once {
            write!(f, "-{}:{}", AT_ONCE + u64::from(it.calls), it.since.as_microsecond())?;
            space = " ";
        }
        if let Some(Correction { less, until }) = self.correction {
            write!(f, "{space}-{less}:{}", until.as_microsecond())?;
            space = " ";
        }
        for (at, units) in &self.times {
            write!(f, "{space}{}:{units}", at.as_microsecond())?;
            space = " ";
        }
        Ok(())
    }
}

/// Why a column holds no spending.
#[derive(Debug, thiserror::Error)]
#[error("it must be times and units, each as microseconds:units")]
pub struct NoSpending;

impl From<ParseIntError> for NoSpending {
    fn from(_: ParseIntError) -> Self {
        Self
    }
}

impl FromStr for Spending {
    type Err = NoSpending;

    fn from_str(text: &str) -> Result<Self, NoSpending> {
        let mut spending = Self::default();
        for it in text.split_ascii_whitespace() {
            let (one, other) = it.split_once(':').ok_or(NoSpending)?;
            match one.strip_prefix('-') {
                Some(less) => {
                    let (less, at): (u64, _) = (less.parse()?, from_us(other.parse()?));
                    match less.checked_sub(AT_ONCE).filter(|calls| *calls > 0) {
                        Some(calls) => {
                            let calls = u32::try_from(calls).map_err(|_| NoSpending)?;
                            spending.at_once = Some(AtOnce { calls, since: at });
                        }
                        None => spending.correction = Some(Correction { less, until: at }),
                    }
                }
                None => spending.times.push((from_us(one.parse()?), other.parse()?)),
            }
        }
        Ok(spending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: i64) -> Timestamp {
        from_us(ms * 1_000)
    }

    #[test]
    fn what_was_spent_is_read_as_it_was_written() {
        let mut spending = Spending::default();
        assert_eq!(spending.to_string(), "");
        // Where nothing was spent, nothing is told later than it was.
        for (ms, units) in [(1_000, 7), (4_998, 2), (4_999, 0), (5_000, 3), (61_000, 0)] {
            spending.add(at(ms), units);
        }
        assert_eq!(spending.to_string(), "4998000:9 5000000:3");
        let corrected = spending.clone().corrected(Some(Correction { less: 100, until: at(600_000) }), None);
        assert_eq!(corrected.to_string(), "-100:600000000 4998000:9 5000000:3");
        let at_once = corrected.clone().corrected(corrected.correction, Some(AtOnce { calls: 2, since: at(7) }));
        assert_eq!(at_once.to_string(), "-1002:7000 -100:600000000 4998000:9 5000000:3");
        let alone = Spending { correction: None, ..at_once.clone() };
        let bare = Spending { times: Vec::new(), ..corrected.clone() };
        for it in [spending, Spending::default(), corrected, at_once, alone, bare] {
            assert_eq!(it.to_string().parse::<Spending>().expect("read"), it);
        }
        for wrong in ["7", "x:7", "7:x", "7:-1", "-x:7", "--7:7", "-9999999999:7"] {
            assert!(wrong.parse::<Spending>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_minute_of_it_is_short() {
        let mut spending = Spending::default();
        (0..6_000).for_each(|it| spending.add(at(2_490 + it * 10), 1));
        assert_eq!((spending.each().count(), spending.each().map(|(_, units)| units).sum::<u64>()), (13, 6_000));
    }
}
