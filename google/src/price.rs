//! What a call costs at Google: tables as data, each with its source and date.
//!
//! Google charges quota units per Gmail call, and counts requests to Calendar and the Directory ([`Requests`]); sign-in
//! and Pub/Sub calls cost neither. A reader must not derive
//! anything from these numbers in code: which table counts is the operator's configuration, because it depends on the
//! age of their Cloud project.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::calls::Api;

/// Which price list the Cloud project falls under. Written `2026-05` or `before-2026-05` in the configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Table {
    /// Projects made on or after 1 May 2026, or that did not use the Gmail API in the half year before.
    #[default]
    #[serde(rename = "2026-05")]
    May2026,
    /// Older projects that used the Gmail API between November 2025 and April 2026.
    #[serde(rename = "before-2026-05")]
    BeforeMay2026,
}

/// What a project may spend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Units per person and minute within one project.
    pub person_minute: u64,
    /// Units per project and minute.
    pub project_minute: u64,
    /// Units per project and day. Use above it is announced to cost money; it cannot be raised.
    pub project_day: u64,
    /// Calls at the same time per mailbox. Google publishes no number; five is what others found safe.
    pub concurrent_per_mailbox: u32,
}

/// What stands for a limit that Google doesn't name: more than anybody sends.
const NO_LIMIT: u64 = 1_000_000_000_000;

impl Limits {
    /// What may be spent on a day; none where nobody names a limit.
    pub fn day(&self) -> Option<u64> {
        (self.project_day < NO_LIMIT).then_some(self.project_day)
    }

    /// The limits of a service that counts requests instead of pricing them; `None` where requests are not counted.
    pub fn of_requests(api: Api) -> Option<Self> {
        let Requests { person_minute, project_minute, project_day } = requests(api)?;
        Some(Self {
            person_minute,
            project_minute: project_minute.unwrap_or(NO_LIMIT),
            project_day: project_day.unwrap_or(NO_LIMIT),
            concurrent_per_mailbox: 5,
        })
    }
}

/// How many requests a project may send to a service that counts them instead of pricing them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requests {
    /// Per person and minute within one project.
    pub person_minute: u64,
    /// Per project and minute; `None` where Google names no limit.
    pub project_minute: Option<u64>,
    /// Per project and day; `None` where Google names no limit. Calendar's is announced to cost money beyond it.
    pub project_day: Option<u64>,
}

/// Source: the Calendar API's page on quotas, for projects made on or after 1 May 2026. Older projects keep theirs,
/// which are as large or larger.
const CALENDAR: Requests = Requests { person_minute: 600, project_minute: Some(10_000), project_day: Some(1_000_000) };

/// Source: the Directory API's page on limits, April 2026. Beside it, an organization has a limit of calls at the same
/// time that is not published.
const DIRECTORY: Requests = Requests { person_minute: 2_400, project_minute: None, project_day: None };

/// What a project may send to a service; `None` where requests are not counted.
pub fn requests(api: Api) -> Option<Requests> {
    match api {
        Api::Calendar => Some(CALENDAR),
        Api::Directory => Some(DIRECTORY),
        Api::SignIn | Api::Gmail | Api::PubSub => None,
    }
}

/// Name of the call, units under [`Table::May2026`], units under [`Table::BeforeMay2026`].
///
/// Source: the Gmail API's page "Usage limits", as it was before and after 1 May 2026.
const UNITS: &[(&str, u32, u32)] = &[
    ("gmail.getProfile", 1, 1),
    ("gmail.labels.list", 1, 1),
    ("gmail.labels.get", 1, 1),
    ("gmail.history.list", 2, 2),
    ("gmail.messages.list", 5, 5),
    ("gmail.messages.get", 20, 5),
    ("gmail.threads.get", 40, 10),
    ("gmail.watch", 100, 100),
    ("gmail.stop", 50, 50),
];

impl Table {
    /// The units that one call costs; zero for calls that have no price in Gmail's quota.
    pub fn units(&self, call: &str) -> u32 {
        let row = UNITS.iter().find(|(name, ..)| *name == call);
        row.map_or(0, |(_, new, old)| if *self == Self::May2026 { *new } else { *old })
    }

    /// What a project may spend under this table. Source as for the prices.
    pub fn limits(&self) -> Limits {
        let person_minute = match self {
            Self::May2026 => 6_000,
            Self::BeforeMay2026 => 15_000,
        };
        Limits { person_minute, project_minute: 1_200_000, project_day: 80_000_000, concurrent_per_mailbox: 5 }
    }

    /// The name in the configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::May2026 => "2026-05",
            Self::BeforeMay2026 => "before-2026-05",
        }
    }
}

/// What calls cost: Google's table, and the operator's own prices, which come before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prices {
    /// The table.
    pub table: Table,
    /// Units by the name of the call, where they differ from the table.
    pub units: BTreeMap<String, u32>,
}

impl Prices {
    /// The units that one call costs.
    pub fn units(&self, call: &str) -> u32 {
        self.units.get(call).copied().unwrap_or_else(|| self.table.units(call))
    }
}

impl From<Table> for Prices {
    fn from(table: Table) -> Self {
        Self { table, units: BTreeMap::new() }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Not the name of a price table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no such quota table: write 2026-05 or before-2026-05")]
pub struct UnknownTable;

impl FromStr for Table {
    type Err = UnknownTable;

    fn from_str(name: &str) -> Result<Self, UnknownTable> {
        [Self::May2026, Self::BeforeMay2026].into_iter().find(|table| table.name() == name).ok_or(UnknownTable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::CALLS;

    #[test]
    fn the_tables_hold_googles_numbers() {
        let cost = |call| (Table::May2026.units(call), Table::BeforeMay2026.units(call));
        assert_eq!(cost("gmail.messages.get"), (20, 5));
        assert_eq!(cost("gmail.threads.get"), (40, 10));
        assert_eq!(cost("gmail.getProfile"), (1, 1));
        assert_eq!(cost("gmail.watch"), (100, 100));
        assert_eq!(cost("oauth.refresh"), (0, 0));
        assert_eq!(Table::May2026.limits().person_minute, 6_000);
        assert_eq!(Table::BeforeMay2026.limits().person_minute, 15_000);
        assert_eq!(Table::BeforeMay2026.limits().project_day, 80_000_000);
    }

    #[test]
    fn a_price_of_the_operator_s_own_comes_before_the_table() {
        let units = BTreeMap::from([("gmail.messages.get".to_owned(), 7)]);
        let prices = Prices { units, ..Table::May2026.into() };
        assert_eq!((prices.units("gmail.messages.get"), prices.units("gmail.threads.get")), (7, 40));
    }

    #[test]
    fn only_a_service_that_names_it_has_a_limit_of_the_day() {
        assert_eq!(Table::May2026.limits().day(), Some(80_000_000));
        assert_eq!(Limits::of_requests(Api::Calendar).unwrap().day(), Some(1_000_000));
        assert_eq!(Limits::of_requests(Api::Directory).unwrap().day(), None);
    }

    #[test]
    fn every_gmail_call_has_a_price_and_every_price_a_call() {
        let mut gmail: Vec<_> = CALLS.iter().filter(|call| call.api == Api::Gmail).map(|call| call.name).collect();
        let mut priced: Vec<_> = UNITS.iter().map(|(name, ..)| *name).collect();
        gmail.sort_unstable();
        priced.sort_unstable();
        assert_eq!(gmail, priced);
    }

    #[test]
    fn requests_are_counted_where_nothing_is_priced() {
        let calendar = requests(Api::Calendar).unwrap();
        assert_eq!((calendar.person_minute, calendar.project_minute), (600, Some(10_000)));
        assert_eq!(requests(Api::Directory).unwrap().person_minute, 2_400);
        assert_eq!(requests(Api::Gmail), None);
        for call in CALLS.iter().filter(|call| requests(call.api).is_some()) {
            assert_eq!(Table::May2026.units(call.name), 0, "{}", call.name);
        }
    }

    #[test]
    fn names_are_read_back() {
        for table in [Table::May2026, Table::BeforeMay2026] {
            assert_eq!(table.name().parse(), Ok(table));
            let json = serde_json::to_string(&table).unwrap();
            assert_eq!(json, format!("\"{table}\""));
            assert_eq!(serde_json::from_str::<Table>(&json).unwrap(), table);
        }
        assert_eq!("2026-06".parse::<Table>(), Err(UnknownTable));
    }
}
