//! Channels of an agenda's calendars: opened where Google can reach Intail, opened anew before they end, and stopped
//! once another one was heard of that takes their place. That it fails never stops reading: the calendar is looked at
//! instead.

use std::time::Duration;

use intail_google::calendar::ChannelSpec;
use intail_google::{Error, ErrorKind, Refusal};
use secrecy::SecretString;

use super::budget::Class;
use super::calendar::AgendaRun;
use super::worker::{Done, StepError};
use crate::config::CALENDAR_NOTICES;
use crate::seal::hash_token;
use crate::store::channels::{self, Channel};

/// How long a channel shall live: what Google gives when nobody says anything (its guide on push).
const TTL_S: u64 = 7 * 24 * 3600;
/// How long before its end a channel is opened anew: a day of failing tries passes unnoticed.
const RENEW_BEFORE: Duration = Duration::from_secs(36 * 3600);
/// After a failed try: soon when it may pass, and seldom when Google says no, as it does of calendars of holidays.
const RETRY: Duration = Duration::from_secs(10 * 60);
const RETRY_REFUSED: Duration = Duration::from_secs(12 * 3600);

/// The longest reason of Google's that is kept: its own, such as `push.webhookUrlUnauthorized`, have half as many
/// bytes.
const REASON_BYTES_MAX: usize = 64;

/// Why a channel couldn't be opened, in one word: Google's own where it gave one, because each asks for something else.
fn word_of(error: &Error) -> String {
    let is_word = |it: &&str| {
        it.len() <= REASON_BYTES_MAX && it.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    let reason = error.reason.as_deref().filter(|it| !it.is_empty()).filter(is_word);
    reason.filter(|_| matches!(error.kind, ErrorKind::Refused(_))).unwrap_or(error.kind.word()).to_owned()
}

impl AgendaRun<'_> {
    /// Opens a channel for a calendar. Its row is there first, because its first notice may come before the answer.
    pub(super) async fn open(&mut self, at: usize) -> Result<Done, StepError> {
        if let Err(until) = self.take(Class::Repair) {
            return Ok(Done::Wait(until));
        }
        let (id, token) = (self.app.random.token(), self.app.random.token());
        let ends = self.after(Duration::from_secs(TTL_S));
        let asked = Channel {
            id: id.clone(),
            agenda_id: self.agenda.id.clone(),
            calendar_id: self.calendars[at].id.clone(),
            token_hash: hash_token(&token),
            resource_id: None,
            opened_at: self.now,
            expires_at: Some(ends),
            proved_at: None,
            noticed_at: None,
            is_replaced: false,
        };
        let mut tx = self.write().await?;
        channels::create(&mut tx, &self.agenda.organization_id, &asked).await?;
        tx.commit().await?;
        let address = self.app.config.server.public_url.page(CALENDAR_NOTICES);
        let Ok(address) = address.parse() else { return Ok(Done::Step) };
        let token = SecretString::from(token);
        let spec = ChannelSpec { id: &id, token: &token, address: &address, ttl_s: TTL_S };
        match self.app.google.calendar(&self.caller).watch(&asked.calendar_id, spec).await {
            Ok(channel) => {
                let ends = channel.expires_at.unwrap_or(ends).min(ends);
                let renew_at = ends.checked_sub(RENEW_BEFORE).unwrap_or(self.now).max(self.after(RETRY));
                let spread = Duration::from_secs(self.app.random.below(RENEW_BEFORE.as_secs() / 2));
                let calendar = &mut self.calendars[at];
                calendar.channel_due_at = renew_at.saturating_add(spread).ok();
                calendar.channel_problem = None;
                // Between the last reading and the first notice something may have changed.
                calendar.look_at = Some(self.now);
                let mut tx = self.write().await?;
                channels::opened(&mut tx, &id, &channel.resource_id, ends).await?;
                self.commit(tx, Some(at), &[]).await?;
            }
            Err(error) => {
                let mut tx = self.write().await?;
                // Where Google said no, nothing is open, and its row would only lie about.
                if !matches!(error.kind, ErrorKind::Transient | ErrorKind::NotUnderstood) {
                    channels::delete(&mut tx, &id).await?;
                }
                let is_final = match &error.kind {
                    ErrorKind::Refused(Refusal::Unauthorized | Refusal::ScopeMissing)
                    | ErrorKind::GrantDead(_)
                    | ErrorKind::SlowDown { .. } => {
                        tx.commit().await?;
                        return Err(error.into());
                    }
                    ErrorKind::Refused(_) => true,
                    _ => false,
                };
                tracing::info!(agenda = %self.agenda.id, %error, "a channel couldn't be opened");
                let again = if is_final { RETRY_REFUSED } else { RETRY };
                self.calendars[at].channel_due_at = Some(self.spread(again));
                self.calendars[at].channel_problem = Some(word_of(&error));
                // One of which Google never answered would have been heard of since.
                let heard_by = self.now.checked_sub(RETRY).unwrap_or(self.now);
                channels::forget_unheard(&mut tx, &self.agenda.id, &asked.calendar_id, heard_by).await?;
                self.commit(tx, Some(at), &[]).await?;
            }
        }
        Ok(Done::Step)
    }

    /// Stops a channel that nobody needs any more. One that Google never answered about ends by itself.
    pub(super) async fn stop(&mut self, at: usize) -> Result<Done, StepError> {
        let channel = self.channels[at].clone();
        let is_open = channel.expires_at.is_some_and(|ends| ends > self.now);
        if let Some(resource_id) = channel.resource_id.as_deref().filter(|_| is_open) {
            if let Err(until) = self.take(Class::Repair) {
                return Ok(Done::Wait(until));
            }
            match self.app.google.calendar(&self.caller).stop(&channel.id, resource_id).await {
                Ok(()) => {}
                Err(error) => match &error.kind {
                    ErrorKind::Refused(Refusal::Unauthorized | Refusal::ScopeMissing) => return Err(error.into()),
                    // It isn't there any more, or not this person's to stop: it ends by itself.
                    ErrorKind::Refused(_) => {
                        tracing::info!(agenda = %self.agenda.id, %error, "a channel isn't stopped")
                    }
                    _ => return Err(error.into()),
                },
            }
        }
        let mut tx = self.write().await?;
        channels::delete(&mut tx, &channel.id).await?;
        channels::forget_ended(&mut tx, &self.agenda.id, self.now).await?;
        self.commit(tx, None, &[]).await?;
        Ok(Done::Step)
    }
}
