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

/// When how many quota units were spent, earliest first, and what was learned of the limit meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spending {
    times: Vec<(Timestamp, u64)>,
    correction: Option<Correction>,
}

impl Spending {
    /// All of it at one time.
    pub fn once(at: Timestamp, units: u64) -> Self {
        Self { times: vec![(at, units)], correction: None }
    }

    /// With what was learned of the limit.
    pub fn corrected(self, correction: Option<Correction>) -> Self {
        Self { correction, ..self }
    }

    /// What was learned of the limit.
    pub fn correction(&self) -> Option<Correction> {
        self.correction
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

/// As a column holds it: `microseconds:units`, one after the other; what was learned of the limit stands before them as
/// `-thousandths:microseconds`, which an Intail that knows nothing of it takes for units of long ago.
impl Display for Spending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut space = "";
        if let Some(Correction { less, until }) = self.correction {
            write!(f, "-{less}:{}", until.as_microsecond())?;
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
                    let until = from_us(other.parse()?);
                    spending.correction = Some(Correction { less: less.parse()?, until });
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
        let corrected = spending.clone().corrected(Some(Correction { less: 100, until: at(600_000) }));
        assert_eq!(corrected.to_string(), "-100:600000000 4998000:9 5000000:3");
        for it in [spending, Spending::default(), corrected.clone(), Spending { times: Vec::new(), ..corrected }] {
            assert_eq!(it.to_string().parse::<Spending>().expect("read"), it);
        }
        for wrong in ["7", "x:7", "7:x", "7:-1", "-x:7", "--7:7"] {
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
