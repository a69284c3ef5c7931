//! "A day in a company": a fixed sequence of small things that happen to mail, one after another or all at once, so
//! that somebody who looks at the product sees it live. The same world and seed play the same day.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::Shared;
use crate::action::{MailAction, One};
use crate::compose::Compose;
use crate::mail::{Mailbox, Message};
use crate::world::{World, later_ms};

/// Milliseconds between two steps when nobody says otherwise.
pub const INTERVAL_MS: i64 = 4_000;
/// How far back a step looks for the message that it is about.
const LOOK_BACK_MAX: usize = 500;

/// A sequence that can be played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Script {
    /// A day in a company.
    Day,
}

impl Script {
    /// The script of this name.
    pub fn parse(name: &str) -> Option<Script> {
        (name == "day").then_some(Script::Day)
    }

    fn steps(self) -> &'static [Step] {
        match self {
            Script::Day => DAY,
        }
    }

    /// Number of steps.
    pub fn len(self) -> usize {
        self.steps().len()
    }

    /// Whether nothing happens in it; never true.
    pub fn is_empty(self) -> bool {
        self.steps().is_empty()
    }
}

/// A script that is being played.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Performance {
    /// Which one.
    pub script: Script,
    /// Steps done.
    pub step: usize,
    /// Address of the person to whom most of it happens; the first in the alphabet when absent.
    pub lead: Option<String>,
    /// Milliseconds between steps.
    pub interval_ms: i64,
    /// When the next step is due.
    pub next_at: Timestamp,
}

/// One small thing. Numbers are people with a mailbox, counted round.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// Somebody outside writes.
    Arrives(usize),
    /// A colleague writes.
    Writes(usize, usize, &'static str),
    /// Somebody answers the newest letter of a colleague.
    Answers(usize),
    /// The newest unread letter is read.
    Reads(usize),
    /// The newest letter gets a star.
    Stars(usize),
    /// The newest read letter leaves the inbox.
    Archives(usize),
    /// The newest letter gets a label of the person's own.
    Labels(usize, &'static str),
    /// A draft is begun, saved again and sent.
    Drafts(usize, usize),
    /// The newest letter of a list goes to the bin.
    Trashes(usize),
    /// What lies in the bin longest is deleted for ever.
    Empties(usize),
    /// The newest letter is spam.
    Spams(usize),
}

use Step::{Answers, Archives, Arrives, Drafts, Empties, Labels, Reads, Spams, Stars, Trashes, Writes};

static DAY: &[Step] = &[
    Arrives(0),
    Arrives(1),
    Reads(0),
    Writes(1, 0, "Stand-up moved to ten ☕"),
    Reads(0),
    Answers(0),
    Arrives(2),
    Stars(0),
    Labels(1, "To do"),
    Writes(2, 1, "Menú de hoy"),
    Archives(0),
    Answers(1),
    Drafts(0, 3),
    Arrives(0),
    Arrives(3),
    Spams(3),
    Writes(3, 0, "Отчёт за ноябрь"),
    Reads(0),
    Labels(0, "Reports"),
    Trashes(1),
    Writes(4, 0, "来週の出張について"),
    Answers(0),
    Reads(4),
    Archives(1),
    Arrives(4),
    Drafts(2, 0),
    Stars(2),
    Empties(1),
    Writes(0, 2, "Numbers for the board"),
    Answers(2),
    Reads(2),
    Archives(2),
    Arrives(1),
    Trashes(0),
    Writes(5, 0, "عرض السعر الجديد"),
    Reads(0),
    Answers(0),
    Archives(0),
    Empties(0),
    Writes(1, 0, "Good night 🌙"),
];

impl World {
    /// Begins to play, now and then a step every so often. What was being played ends.
    pub fn start_script(&mut self, script: Script) {
        self.start_script_for(script, None, INTERVAL_MS);
    }

    /// The same with a person to whom most of it happens, and another interval in milliseconds.
    pub fn start_script_for(&mut self, script: Script, lead: Option<&str>, interval_ms: i64) {
        let next_at = self.clock.now();
        self.performance = Some(Performance {
            script,
            step: 0,
            lead: lead.map(str::to_owned),
            interval_ms: interval_ms.max(0),
            next_at,
        });
        self.pubsub.arrivals += 1;
    }

    /// Plays a whole script at once.
    pub fn play_at_once(&mut self, script: Script, lead: Option<&str>) {
        for step in script.steps() {
            self.take_step(*step, lead);
        }
    }

    /// Does the steps that are due; the answer is when the next one is.
    pub(crate) fn play_due(&mut self) -> Option<Timestamp> {
        let now = self.clock.now();
        let mut performance = self.performance.take()?;
        let steps = performance.script.steps();
        while performance.next_at <= now && performance.step < steps.len() {
            self.take_step(steps[performance.step], performance.lead.as_deref());
            performance.step += 1;
            performance.next_at = later_ms(performance.next_at, performance.interval_ms);
        }
        if performance.step >= steps.len() {
            return None;
        }
        let next_at = performance.next_at;
        self.performance = Some(performance);
        Some(next_at)
    }

    /// A step that finds nothing to act on is passed over: the person may have deleted it in between.
    fn take_step(&mut self, step: Step, lead: Option<&str>) {
        let people = self.identity.people.values();
        let playing = people.filter(|person| person.has_mailbox && person.is_active() && person.hd.is_some());
        let mut people: Vec<String> = playing.map(|person| person.email.clone()).collect();
        people.sort_by_key(|email| (!lead.is_some_and(|lead| lead.eq_ignore_ascii_case(email)), email.clone()));
        if people.is_empty() {
            return;
        }
        let email = |index: usize| people[index % people.len()].as_str();
        let (who, actions) = self.actions(step, &email);
        for action in actions {
            if let Err(error) = self.act(email(who), &action) {
                tracing::debug!(%error, "a step of the script was passed over");
            }
        }
    }

    fn actions<'a>(&mut self, step: Step, email: &impl Fn(usize) -> &'a str) -> (usize, Vec<MailAction>) {
        let found = |who: usize, fits: fn(&Message) -> bool| {
            let mailbox: Option<&Mailbox> = self.mailbox(email(who));
            let message = mailbox?.newest_first().take(LOOK_BACK_MAX).find(|message| fits(message))?;
            Some(message.id.clone())
        };
        let on =
            |id: Option<String>, action: fn(One) -> MailAction| id.map(|id| action(One { id })).into_iter().collect();
        match step {
            Arrives(who) => (who, vec![MailAction::sample()]),
            Writes(who, to, subject) => (who, vec![MailAction::Send(written(email(to), subject, None))]),
            Reads(who) => {
                (who, on(found(who, |message| message.has("INBOX") && message.has("UNREAD")), MailAction::Read))
            }
            Stars(who) => (who, on(found(who, |message| message.has("INBOX")), MailAction::Star)),
            Archives(who) => {
                (who, on(found(who, |message| message.has("INBOX") && !message.has("UNREAD")), MailAction::Archive))
            }
            Trashes(who) => (who, on(found(who, |message| message.header("List-Id").is_some()), MailAction::Trash)),
            Empties(who) => (who, on(found(who, |message| message.has("TRASH")), MailAction::Delete)),
            Spams(who) => (who, on(found(who, |message| message.has("INBOX")), MailAction::Spam)),
            Labels(who, name) => {
                let label = |id| MailAction::Label { id, add: vec![name.to_owned()], remove: Vec::new() };
                let create = MailAction::CreateLabel { name: name.to_owned() };
                let labelling = found(who, |message| message.has("INBOX")).map(label);
                (who, std::iter::once(create).chain(labelling).collect())
            }
            Answers(who) => {
                let inbox = found(who, |message| message.has("INBOX") && message.header("Message-ID").is_some());
                let answer = inbox.and_then(|id| self.answer_to(email(who), &id));
                (who, answer.map(MailAction::Send).into_iter().collect())
            }
            Drafts(who, to) => (who, self.draft_and_send(email(who), email(to))),
        }
    }

    fn answer_to(&self, email: &str, id: &str) -> Option<Compose> {
        let message = self.mailbox(email)?.message(id)?;
        let subject = message.header("Subject").unwrap_or_default();
        let subject = if subject.starts_with("Re: ") { subject.to_owned() } else { format!("Re: {subject}") };
        Some(written(message.header("From")?, &subject, Some(id.to_owned())))
    }

    /// Two saves happen here, because each needs the id of the one before; the sending is left to the caller.
    fn draft_and_send(&mut self, email: &str, to: &str) -> Vec<MailAction> {
        let mut earlier = None;
        for subject in ["Minutes", "Minutes of the planning round"] {
            let draft = MailAction::Draft { earlier: earlier.take(), compose: written(to, subject, None) };
            earlier = self.act(email, &draft).ok().and_then(|mut done| done.ids.pop());
        }
        earlier.map(|id| MailAction::SendDraft(One { id })).into_iter().collect()
    }
}

fn written(to: &str, subject: &str, answers: Option<String>) -> Compose {
    let body = "More when we meet.".to_owned();
    Compose { to: to.to_owned(), subject: subject.to_owned(), body, answers, ..Compose::default() }
}

/// Plays what is to be played until the sandbox stops.
pub(crate) async fn play(shared: Arc<Shared>) {
    let mut arrivals = shared.arrivals.subscribe();
    while !shared.stopping.is_cancelled() {
        arrivals.mark_unchanged();
        let waiting = shared.look(|world| world.performance.as_ref().map(|performance| performance.next_at));
        let next = match waiting {
            Some(at) if at <= shared.clock.now() => shared.with_world(World::play_due),
            waiting => waiting,
        };
        tokio::select! {
            () = shared.stopping.cancelled() => {}
            _ = arrivals.changed() => {}
            () = shared.clock.reached(next.unwrap_or(Timestamp::MAX)) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::history::Kind;
    use crate::world::tests::{empty_world, sub};

    #[test]
    fn a_day_has_something_of_everything() {
        let mut world = empty_world();
        world.play_at_once(Script::Day, Some("ines@example.com"));
        let records: Vec<_> = world.mail[&sub()].history().records().collect();
        for kind in [Kind::Added, Kind::Deleted, Kind::LabelAdded, Kind::LabelRemoved] {
            assert!(records.iter().any(|record| record.has(kind)), "{kind:?}");
        }
    }

    #[test]
    fn the_same_seed_plays_the_same_day() {
        let play = || {
            let mut world = empty_world();
            world.play_at_once(Script::Day, Some("ines@example.com"));
            serde_json::to_string(&world.mail).unwrap()
        };
        assert_eq!(play(), play());
    }

    #[test]
    fn steps_follow_the_clock() {
        let mut world = empty_world();
        world.start_script_for(Script::Day, None, 1_000);
        let next = world.play_due().unwrap();
        assert_eq!(world.performance.as_ref().unwrap().step, 1);
        assert_eq!(next, later_ms(world.clock.now(), 1_000));
        world.clock.advance(Duration::from_secs(5));
        world.play_due();
        assert_eq!(world.performance.as_ref().unwrap().step, 6);
        world.clock.advance(Duration::from_secs(3_600));
        assert_eq!(world.play_due(), None);
        assert!(world.performance.is_none());
        assert_eq!((Script::parse("day"), Script::parse("night")), (Some(Script::Day), None));
        assert!(Script::Day.len() >= 40 && !Script::Day.is_empty());
    }
}
