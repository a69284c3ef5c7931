//! What to do next with a mailbox: decided from its row and the time, and from nothing else, so that every decision
//! can be tested by writing a row down.

use std::time::Duration;

use jiff::Timestamp;

use crate::store::grants::Grant;
use crate::store::mailboxes::{Around, Mailbox, MailboxState};

/// How long after activity to look again: a notice may come before its data can be read (observed: seconds).
pub const TRAILING_LOOK: Duration = Duration::from_secs(5);
/// How long after activity to compare with Google: notices above one a second are dropped silently (Google's push
/// guide).
pub const PROBE_AFTER: Duration = Duration::from_secs(10 * 60);
/// How long it may take until everything can be read that Google's present history id counts (observed: seconds).
pub const VISIBLE_AFTER: Duration = Duration::from_secs(15);
/// How often to compare while Google doesn't push: the only way to notice changes then.
pub const PROBE_WITHOUT_PUSH: Duration = Duration::from_secs(10 * 60);

/// Of a mailbox with so many messages at most the whole list is read before any: that takes a second, and a thread that
/// is fetched before the rest of it is known has to be fetched whole once more.
const LISTED_FIRST_MAX: i64 = 2_000;
/// How long a renewal may wait behind notices: nothing beside the days that a watch lasts.
const RENEWAL_WAITS_MAX: Duration = Duration::from_secs(10 * 60);

/// One bounded piece of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Read the mailbox's present history id and keep it as the cursor, before anything is listed.
    Pin,
    /// Set or renew the watch.
    Watch,
    /// Read the history from the cursor.
    History,
    /// Ask for the present history id and compare it with the cursor.
    Probe,
    /// Retry items that failed.
    Debts,
    /// List the next page of the present pass.
    List,
    /// Fetch messages that the listing named.
    Fill,
    /// Close the pass: compare what it didn't see, and go live.
    Settle,
    /// List the newest page once more: what the pass's first history id counted may not have been listed yet.
    Relist,
    /// Compare everything: something that Google told couldn't be read.
    Compare,
    /// Count the copy against Google's own count.
    Audit,
    /// Nothing now; due again then.
    Rest(Option<Timestamp>),
}

impl Step {
    /// Whether it copies, compares or counts what was there before. A place among those that are kept for changes that
    /// just happened isn't for that.
    pub fn is_bulk(self) -> bool {
        match self {
            Self::List | Self::Fill | Self::Settle | Self::Relist | Self::Compare | Self::Audit => true,
            Self::Pin | Self::Watch | Self::History | Self::Probe | Self::Debts | Self::Rest(_) => false,
        }
    }
}

/// What the decision needs beside the mailbox's row.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings {
    /// Whether messages are still to be fetched.
    pub has_fills: bool,
    /// When the next debt is due.
    pub next_debt_at: Option<Timestamp>,
    /// Whether something is owed that wasn't tried often yet.
    pub has_new_debts: bool,
    /// When the person connected last: a watch from before must be set again.
    pub connected_at: Option<Timestamp>,
    /// When the copy is to be counted against Google's count.
    pub audit_at: Option<Timestamp>,
}

impl Surroundings {
    /// What was read of a mailbox that is read under this grant.
    pub fn of(around: Around, grant: &Grant) -> Self {
        Self {
            has_fills: around.has_fills,
            next_debt_at: around.next_debt_at,
            has_new_debts: around.has_new_debts,
            connected_at: Some(grant.connected_at),
            audit_at: around.audit_at,
        }
    }
}

/// The next step.
pub fn plan(mailbox: &Mailbox, around: Surroundings, now: Timestamp) -> Step {
    if let Some(until) = mailbox.paused_until.filter(|until| *until > now) {
        return Step::Rest(Some(until));
    }
    if mailbox.cursor.is_none() {
        return Step::Pin;
    }
    let reached = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
    let watch_is_old = mailbox.watch_set_at.is_some_and(|set| around.connected_at.is_some_and(|it| it > set));
    // What just changed costs 2 units, a renewal 100: where few are left, it goes first. A mailbox that never rests is
    // renewed all the same.
    let is_overdue = mailbox.watch_due_at.saturating_add(RENEWAL_WAITS_MAX).is_ok_and(|it| it <= now);
    let reads_first = is_noticed(mailbox) && mailbox.cursor_at.is_some() && !is_overdue;
    if (mailbox.watch_due_at <= now && !reads_first) || watch_is_old {
        return Step::Watch;
    }
    if is_noticed(mailbox) || mailbox.cursor_at.is_none() || reached(mailbox.look_at) {
        return Step::History;
    }
    if reached(mailbox.probe_at) {
        return Step::Probe;
    }
    if reached(around.next_debt_at) {
        return Step::Debts;
    }
    let wakes = [Some(mailbox.watch_due_at), mailbox.look_at, mailbox.probe_at, around.next_debt_at];
    // Of a large mailbox the newest messages at once; then the whole list, since only it shows which threads are
    // cheaper fetched whole.
    let listing_at = mailbox.listing_at.filter(|at| *at > now && !mailbox.listing_done);
    let shows_first = mailbox.oldest_ms.is_none() && mailbox.total_messages.is_none_or(|it| it > LISTED_FIRST_MAX);
    if around.has_fills && (mailbox.listing_done || shows_first || listing_at.is_some()) {
        return Step::Fill;
    }
    if !mailbox.listing_done {
        // A comparison that listed what isn't readable yet would keep what is gone. A backfill needn't wait: the newest
        // page is listed again after it.
        let readable_at = mailbox.state_since.saturating_add(VISIBLE_AFTER).unwrap_or(now);
        let readable_at = Some(readable_at).filter(|at| mailbox.state == MailboxState::Reconciling && *at > now);
        return match readable_at.max(listing_at) {
            Some(at) => Step::Rest(wakes.into_iter().flatten().chain([at]).min()),
            None => Step::List,
        };
    }
    if mailbox.state != MailboxState::Live {
        return Step::Settle;
    }
    if reached(mailbox.compare_at) {
        return Step::Compare;
    }
    if reached(mailbox.relist_at) {
        return Step::Relist;
    }
    // While something is owed or is to be compared, the counts can't agree. What can never be read is owed for ever: it
    // doesn't keep a hole from being found.
    let audit_at = around.audit_at.filter(|_| !around.has_new_debts && mailbox.compare_at.is_none());
    if reached(audit_at) {
        return Step::Audit;
    }
    Step::Rest(wakes.into_iter().chain([mailbox.compare_at, mailbox.relist_at, audit_at]).flatten().min())
}

/// Whether somebody said "look again" since the history was last read to its end.
pub fn is_noticed(mailbox: &Mailbox) -> bool {
    mailbox.notices > mailbox.notices_read
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::from_us;
    use crate::id::{GrantId, HistoryId, MailboxId, OrganizationId, PersonId};
    use crate::random::Random;
    use crate::store::grants::GrantState;

    fn at(second: i64) -> Timestamp {
        from_us(second * 1_000_000)
    }

    fn live() -> Mailbox {
        let random = Random::seeded(1);
        let grant = Grant {
            id: GrantId::new(&random),
            organization_id: OrganizationId::new(&random),
            person_id: PersonId::new(&random),
            google_subject: "1".into(),
            email: "Someone@example.com".into(),
            hosted_domain: None,
            client_id: "client".into(),
            scopes: Vec::new(),
            state: GrantState::Active,
            reason: String::new(),
            state_since: at(0),
            refresh_sealed: None,
            access_sealed: None,
            access_expires_at: None,
            connected_at: at(0),
            suspended_at: None,
        };
        Mailbox {
            state: MailboxState::Live,
            cursor: Some(HistoryId(5)),
            cursor_at: Some(at(90)),
            watch_set_at: Some(at(10)),
            watch_due_at: at(80_000),
            listing_done: true,
            ..Mailbox::new(MailboxId::new(&random), &grant, at(0))
        }
    }

    fn next(mailbox: &Mailbox) -> Step {
        plan(mailbox, Surroundings { connected_at: Some(at(0)), ..Surroundings::default() }, at(100))
    }

    #[test]
    fn promise_7_an_idle_mailbox_rests_until_its_watch_is_renewed() {
        assert_eq!(next(&live()), Step::Rest(Some(at(80_000))));
    }

    #[test]
    fn a_notice_goes_before_a_renewal_for_some_minutes() {
        let noticed = Mailbox { notices: 4, notices_read: 3, watch_due_at: at(99), ..live() };
        assert_eq!(next(&noticed), Step::History);
        assert_eq!(
            plan(&noticed, Surroundings { connected_at: Some(at(0)), ..Surroundings::default() }, at(699)),
            Step::Watch
        );
        assert_eq!(next(&Mailbox { notices: 3, ..noticed }), Step::Watch);
    }

    #[test]
    fn a_new_mailbox_pins_the_cursor_before_anything_else() {
        assert_eq!(next(&Mailbox { cursor: None, listing_done: false, watch_due_at: at(0), ..live() }), Step::Pin);
    }

    #[test]
    fn promise_3_a_notice_that_no_reading_came_after_asks_for_history() {
        assert_eq!(next(&Mailbox { notices: 4, notices_read: 3, ..live() }), Step::History);
        assert!(matches!(next(&Mailbox { notices: 4, notices_read: 4, ..live() }), Step::Rest(_)));
    }

    #[test]
    fn live_changes_come_before_backfill_and_debts() {
        let busy = Mailbox { listing_done: false, state: MailboxState::Backfilling, notices: 1, ..live() };
        let around = Surroundings { has_fills: true, next_debt_at: Some(at(1)), ..Surroundings::default() };
        assert_eq!(plan(&busy, around, at(100)), Step::History);
        assert_eq!(plan(&Mailbox { notices: 0, ..busy.clone() }, around, at(100)), Step::Debts);
        let paid = Surroundings { next_debt_at: None, ..around };
        assert_eq!(plan(&Mailbox { notices: 0, ..busy }, paid, at(100)), Step::Fill);
    }

    #[test]
    fn the_newest_messages_come_first_then_the_whole_list_and_then_the_rest() {
        let begun = Mailbox { listing_done: false, state: MailboxState::Backfilling, ..live() };
        let around = Surroundings { has_fills: true, connected_at: Some(at(0)), ..Surroundings::default() };
        assert_eq!(plan(&begun, around, at(100)), Step::Fill);
        let small = Mailbox { total_messages: Some(LISTED_FIRST_MAX), ..begun.clone() };
        assert_eq!(plan(&small, around, at(100)), Step::List, "its whole list is there in a second");
        let shown = Mailbox { oldest_ms: Some(1), ..begun };
        assert_eq!(plan(&shown, around, at(100)), Step::List);
        assert_eq!(plan(&Mailbox { listing_done: true, ..shown }, around, at(100)), Step::Fill);
    }

    #[test]
    fn an_audit_comes_last_and_not_while_something_is_owed() {
        let around = Surroundings { audit_at: Some(at(50)), connected_at: Some(at(0)), ..Surroundings::default() };
        assert_eq!(plan(&live(), around, at(100)), Step::Audit);
        assert_eq!(plan(&live(), around, at(49)), Step::Rest(Some(at(50))));
        assert_eq!(plan(&Mailbox { notices: 1, ..live() }, around, at(100)), Step::History);
        let owing = Surroundings { next_debt_at: Some(at(200)), ..around };
        assert_eq!(plan(&live(), Surroundings { has_new_debts: true, ..owing }, at(100)), Step::Rest(Some(at(200))));
        assert_eq!(plan(&live(), owing, at(100)), Step::Audit, "what may never be read is owed");
    }

    #[test]
    fn a_watch_from_before_a_reconnect_is_set_again() {
        let around = Surroundings { connected_at: Some(at(50)), ..Surroundings::default() };
        assert_eq!(plan(&live(), around, at(100)), Step::Watch);
    }

    #[test]
    fn a_pause_is_kept_to_its_end_and_no_longer() {
        let paused = Mailbox { paused_until: Some(at(101)), notices: 1, ..live() };
        assert_eq!(next(&paused), Step::Rest(Some(at(101))));
        assert_eq!(plan(&paused, Surroundings::default(), at(101)), Step::History);
    }

    #[test]
    fn a_comparison_begins_when_what_its_history_id_counts_can_be_read() {
        let begun = Mailbox { state: MailboxState::Reconciling, state_since: at(95), listing_done: false, ..live() };
        assert_eq!(next(&begun), Step::Rest(Some(at(110))));
        assert_eq!(next(&Mailbox { state: MailboxState::Backfilling, ..begun }), Step::List);
    }

    #[test]
    fn after_a_pass_the_newest_page_is_listed_once_more_before_anything_is_counted() {
        let around = Surroundings { audit_at: Some(at(50)), connected_at: Some(at(0)), ..Surroundings::default() };
        let after = Mailbox { relist_at: Some(at(100)), ..live() };
        assert_eq!(plan(&after, around, at(100)), Step::Relist);
        assert_eq!(next(&Mailbox { relist_at: Some(at(101)), ..live() }), Step::Rest(Some(at(101))));
    }

    #[test]
    fn what_can_not_be_read_is_compared_once_the_mailbox_is_live() {
        let strange = Mailbox { compare_at: Some(at(100)), ..live() };
        assert_eq!(next(&strange), Step::Compare);
        assert_eq!(next(&Mailbox { notices: 1, ..strange.clone() }), Step::History);
        assert_eq!(next(&Mailbox { compare_at: Some(at(101)), ..live() }), Step::Rest(Some(at(101))));
        let around = Surroundings { audit_at: Some(at(50)), connected_at: Some(at(0)), ..Surroundings::default() };
        let later = Mailbox { compare_at: Some(at(101)), ..live() };
        assert_eq!(plan(&later, around, at(100)), Step::Rest(Some(at(101))), "nothing is counted before");
        let growing = Mailbox { state: MailboxState::Backfilling, listing_done: false, ..strange };
        assert_eq!(next(&growing), Step::List);
    }

    #[test]
    fn a_listing_that_led_nowhere_waits_and_nothing_else_waits_with_it() {
        let begun = Mailbox { listing_done: false, state: MailboxState::Backfilling, oldest_ms: Some(1), ..live() };
        let waiting = Mailbox { listing_at: Some(at(101)), ..begun };
        assert_eq!(next(&waiting), Step::Rest(Some(at(101))));
        assert_eq!(next(&Mailbox { notices: 1, ..waiting.clone() }), Step::History);
        let around = Surroundings { has_fills: true, connected_at: Some(at(0)), ..Surroundings::default() };
        assert_eq!(plan(&waiting, around, at(100)), Step::Fill, "what was listed is fetched meanwhile");
        assert_eq!(plan(&waiting, Surroundings::default(), at(101)), Step::List);
        assert_eq!(next(&Mailbox { probe_at: Some(at(100)), ..waiting }), Step::Probe);
    }

    #[test]
    fn a_finished_pass_is_settled_once() {
        assert_eq!(next(&Mailbox { state: MailboxState::Backfilling, ..live() }), Step::Settle);
        assert_eq!(next(&Mailbox { state: MailboxState::Reconciling, listing_done: false, ..live() }), Step::List);
    }
}
