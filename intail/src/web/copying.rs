//! How copying goes on, in words: how far it is, when it will be done, what it waits for and why, and what of Google's
//! allowance for today is used. One text for a person's card, the API and the administrator's pages: whoever looks at
//! another page must not be told another story.

use jiff::Timestamp;

use super::Web;
use super::words::{When, from_ms, grouped};
use crate::connect::{Connection, DirectoryCopy, Mode};
use crate::id::OrganizationId;
use crate::store::calendars::CalendarState;
use crate::store::leases::Stream;
use crate::store::mailboxes::{Mailbox, MailboxState};
use crate::store::{StoreError, Tx};
use crate::sync::calendar_plan::is_new;
use crate::sync::{self, Bulk, DayUse, Outlook, Waits};

/// The service whose allowance copying mail uses.
const GMAIL: &str = "gmail";

/// How everything goes on that is read of a person.
pub(super) struct Progress {
    /// Their mail; none while nothing of it is read.
    pub(super) mail: Option<Outlook>,
    /// What their calendars wait for.
    pub(super) calendars_wait: Option<Waits>,
    /// What their organization's directory waits for.
    pub(super) directory_waits: Option<Waits>,
    /// What of the whole installation's day is used, by service.
    pub(super) days: Vec<DayUse>,
}

impl Progress {
    /// As of now.
    pub(super) async fn of(
        web: &Web,
        tx: &mut Tx,
        organization: &OrganizationId,
        connection: Option<&Connection>,
    ) -> Result<Self, StoreError> {
        let days = sync::day_uses(tx, organization, &web.app.config.quota, web.app.clock.now()).await?;
        let (mail, calendars_wait) = match connection {
            Some(it) => (outlook(web, tx, it).await?, calendars_wait(web, tx, it).await?),
            None => (None, None),
        };
        let directory_waits =
            directory_waits(web, tx, organization, connection.and_then(|it| it.directory.as_ref())).await?;
        Ok(Self { mail, calendars_wait, directory_waits, days })
    }

    /// What the person's mail waits for.
    pub(super) fn mail_waits(&self) -> Option<Waits> {
        self.mail.as_ref()?.waits
    }

    /// Whether new mail arrives: it is read, and Google wants no pause. What else is waited for keeps only old mail
    /// away.
    pub(super) fn new_mail_arrives(&self) -> bool {
        self.mail.as_ref().is_some_and(|it| match it.waits {
            Some(Waits::Paused(_) | Waits::Project(_)) => false,
            Some(Waits::Day { .. } | Waits::Listing(_)) | None => true,
        })
    }
}

/// How the reading of a person's mail goes on; none while nothing of it is read.
pub(super) async fn outlook(web: &Web, tx: &mut Tx, connection: &Connection) -> Result<Option<Outlook>, StoreError> {
    let Some(mailbox) = connection.mailbox.as_ref().filter(|_| connection.reads_mail()) else { return Ok(None) };
    let now = web.app.clock.now();
    sync::outlook(tx, mailbox, connection.settled(), &web.app.config.quota, now).await.map(Some)
}

/// What a person's calendars wait for; none while nothing of them is read.
async fn calendars_wait(web: &Web, tx: &mut Tx, connection: &Connection) -> Result<Option<Waits>, StoreError> {
    let Some(standing) = connection.agenda.as_ref().filter(|_| connection.reads_calendars()) else { return Ok(None) };
    let mut bulk = None;
    // One that can't be read waits for something else.
    for it in standing.followed().filter(|it| it.calendar.problem.is_none()) {
        match it.calendar.state {
            state if is_new(state) => bulk = Some(Bulk::Copying),
            CalendarState::Live if it.mode == Mode::Told => {}
            _ => bulk = bulk.or(Some(Bulk::Comparing)),
        }
    }
    sync::calendar_waits(tx, &standing.agenda, bulk, &web.app.config.quota, web.app.clock.now()).await
}

/// What an organization's directory waits for; none while it isn't read.
pub(super) async fn directory_waits(
    web: &Web,
    tx: &mut Tx,
    organization: &OrganizationId,
    copy: Option<&DirectoryCopy>,
) -> Result<Option<Waits>, StoreError> {
    let Some(copy) = copy.filter(|it| it.is_read()) else { return Ok(None) };
    sync::directory_waits(tx, organization, copy.paused_until, &web.app.config.quota, web.app.clock.now()).await
}

/// Back to when a mailbox's copy is complete while it grows. While everything is compared, what is missing may be
/// anywhere.
pub(super) fn complete_back_to(mailbox: &Mailbox) -> Option<Timestamp> {
    mailbox.oldest_ms.filter(|_| mailbox.state == MailboxState::Backfilling).map(from_ms)
}

/// How far the copy of a mailbox is.
pub(super) struct Extent {
    /// Messages that are stored.
    pub(super) stored: String,
    /// Messages that there are; none once it is live.
    pub(super) total: Option<String>,
    /// How much of them that is, in percent.
    pub(super) share: Option<u8>,
    /// Back to when it is complete, while it grows.
    pub(super) complete_to: Option<When>,
    /// Whether something of that couldn't be read yet.
    pub(super) has_debts: bool,
    /// When the pass over it will be done, as far as that is known.
    pub(super) done_at: Option<When>,
    /// What it waits for.
    pub(super) waits: Option<Waiting>,
    /// What of today's allowance is used, while something is copied, once anything of it is counted.
    pub(super) allowance: Option<Allowance>,
}

impl Extent {
    /// Of a person's mailbox.
    pub(super) fn of(connection: &Connection, mailbox: &Mailbox, progress: &Progress) -> Self {
        let settled = connection.settled();
        let total =
            mailbox.total_messages.filter(|_| mailbox.state != MailboxState::Live).map(|total| total.max(settled));
        let share = |total: i64| settled.saturating_mul(100).checked_div(total).unwrap_or(100);
        let pass = progress.mail.as_ref().and_then(|it| it.pass);
        // What is spent is told every few seconds. Beside messages that are here, "0 are used" would be wrong.
        let today = progress.days.iter().find(|it| it.service == GMAIL && it.units > 0).filter(|_| pass.is_some());
        Self {
            stored: grouped(connection.stored),
            total: total.map(grouped),
            share: total.map(share).and_then(|it| u8::try_from(it).ok()),
            complete_to: complete_back_to(mailbox).map(When::day),
            has_debts: connection.debts > 0,
            done_at: pass.and_then(|it| it.done_at).map(When::full),
            waits: progress.mail_waits().map(|it| Waiting::of(it, Stream::Mail, mailbox.paused_why.as_deref())),
            allowance: today.map(Allowance::of),
        }
    }
}

/// What is waited for.
pub(super) struct Waiting {
    /// What a page calls the place where it says so.
    pub(super) id: &'static str,
    /// Until when.
    pub(super) until: When,
    /// Why, and what goes on meanwhile, in sentences.
    pub(super) why: String,
}

impl Waiting {
    /// Of somebody's mail or calendars, or of a directory. `paused_why` is the word for why Google asked to slow down.
    pub(super) fn of(waits: Waits, stream: Stream, paused_why: Option<&str>) -> Self {
        let (what, goes_on) = match stream {
            Stream::Mail => ("mailbox", "New mail arrives all the same."),
            Stream::Calendar => {
                ("person’s calendars", "What Google tells of in the calendars that are here is read all the same.")
            }
            Stream::Directory => ("directory", "Whoever is here stays."),
        };
        let (id, why) = match waits {
            Waits::Paused(_) => {
                let why = match paused_why {
                    Some("concurrency") => format!("Google was asked too much at once about this {what}"),
                    Some("project") => "Google asked Intail to slow down for everybody".to_owned(),
                    Some("day") => "Google says that all it gives this Intail for today is used up".to_owned(),
                    _ => format!("Google asked Intail to slow down with this {what}"),
                };
                ("paused", format!("{why}. Nothing new arrives until then; it goes on by itself."))
            }
            Waits::Project(_) => (
                "project-waits",
                "Google wants no questions from this Intail until then, about anybody. Nothing new arrives until \
                 then; it goes on by itself."
                    .to_owned(),
            ),
            Waits::Day { bulk, percent, .. } => {
                let stops = match (bulk, stream) {
                    (_, Stream::Directory) => "reading the directory stops there",
                    (Bulk::Copying, Stream::Mail) => "copying old mail stops there",
                    (Bulk::Copying, _) => "copying calendars that are new here stops there",
                    (Bulk::Comparing, Stream::Mail) => "comparing with Google stops there",
                    (Bulk::Comparing, _) => "looking at calendars stops there",
                };
                // The policy's number; how much exactly is used stands beside it, and may be far more.
                let used = format!("At least {percent} % of Google’s allowance for today are used, by everybody on");
                ("day-used", format!("{used} this Intail together, and {stops}. {goes_on}"))
            }
            Waits::Listing(_) => (
                "listing-waits",
                format!(
                    "Google’s list of this {what} leads nowhere, so that old mail may be missing. It is read anew \
                     then. {goes_on}"
                ),
            ),
        };
        Self { id, until: When::full(waits.until()), why }
    }
}

/// What of Google's allowance for today is used of one service. It is that of the whole installation.
pub(super) struct Allowance {
    /// The word for the service.
    pub(super) service: &'static str,
    /// What is read of it.
    pub(super) title: &'static str,
    /// How much is used.
    pub(super) used: String,
    /// Of how much.
    pub(super) limit: String,
    /// What is counted.
    pub(super) unit: &'static str,
    /// The configured limit, where Google refused earlier.
    pub(super) configured: Option<String>,
    /// How much of it that is, in percent.
    pub(super) share: u8,
    /// What stops before new changes do.
    pub(super) stops: &'static str,
    /// At how much of it, in percent.
    pub(super) stops_percent: u64,
    /// Whether it waits for the next day.
    pub(super) waits: bool,
    /// When the next day begins.
    pub(super) turns_at: When,
}

impl Allowance {
    /// Of one service's day.
    pub(super) fn of(day: &DayUse) -> Self {
        let number = |units: u64| grouped(i64::try_from(units).unwrap_or(i64::MAX));
        let (title, unit, stops) = match day.service {
            GMAIL => ("Mail", "units", "Copying old mail"),
            "calendar" => ("Calendars", "requests", "Copying calendars that are new here"),
            _ => ("The directory", "requests", "Reading the directory"),
        };
        Self {
            service: day.service,
            title,
            used: number(day.units),
            limit: number(day.limit),
            unit,
            configured: (day.limit < day.configured).then(|| number(day.configured)),
            share: u8::try_from(day.units.saturating_mul(100) / day.limit.max(1)).unwrap_or(100).min(100),
            stops,
            stops_percent: day.percent(Bulk::Copying),
            waits: day.is_used_up(Bulk::Copying),
            turns_at: When::full(day.turns_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_is_told_why_and_whether_new_mail_arrives_meanwhile() {
        let until = Timestamp::UNIX_EPOCH;
        let why = |waits, paused_why| Waiting::of(waits, Stream::Mail, paused_why).why;
        let day = |bulk, percent| Waits::Day { bulk, percent, until };
        for (told, words, arrives) in [
            (why(day(Bulk::Copying, 80), None), "At least 80 % of Google’s allowance for today are used", true),
            (why(day(Bulk::Copying, 80), None), "copying old mail stops there", true),
            (why(day(Bulk::Comparing, 95), None), "comparing with Google stops there", true),
            (why(Waits::Listing(until), None), "leads nowhere", true),
            (why(Waits::Project(until), None), "about anybody", false),
            (why(Waits::Paused(until), Some("person")), "slow down with this mailbox", false),
            (why(Waits::Paused(until), Some("concurrency")), "too much at once", false),
            (why(Waits::Paused(until), Some("project")), "for everybody", false),
            (why(Waits::Paused(until), Some("day")), "for today is used up", false),
        ] {
            assert!(told.contains(words), "{told}");
            assert_eq!(told.contains("New mail arrives all the same."), arrives, "{told}");
            assert_eq!(told.contains("Nothing new arrives until then"), !arrives, "{told}");
        }
    }
}
