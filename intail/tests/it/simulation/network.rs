//! The network of a simulation: carries requests into the false Google without a socket, stops them before they arrive
//! and before their answers come back, and breaks connections or keeps silent when the director says so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::to_bytes;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use intail::clock::Clock;
use intail::id::{HistoryId, MailboxId, OrganizationId};
use intail::store::{Store, mailboxes};
use intail_google::transport::{Carrying, NotCarried, Transport};
use intail_sandbox::Sandbox;
use jiff::{SignedDuration, Timestamp};
use reqwest::{Request, Response};
use serde_json::Value;

use super::stage::{Stage, Stop, Verdict};
use crate::harness::inward::inward;

/// The largest answer that is carried.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// How long a request may take that isn't a long poll, as the client has it.
const DEADLINE: SignedDuration = SignedDuration::from_secs(30);

/// The network.
pub(super) struct Network {
    pub(super) stage: Stage,
    pub(super) sandbox: Arc<Sandbox>,
    /// The play's time, by which deadlines pass.
    pub(super) clock: Clock,
    /// What is marked due, for promise 3.
    pub(super) marks: Marks,
}

/// A mailbox, how many notices were marked, and a history id: the notice's, or the cursor.
type Marked = (MailboxId, i64, Option<HistoryId>);

/// Watches over promise 3: a notice is acknowledged after its mark is committed.
pub(super) struct Marks {
    /// The store, in turn with the others.
    pub(super) store: Store,
    pub(super) organization: OrganizationId,
    /// What was handed out: by the acknowledgement's id, whose notice it is, how many were marked at that time, and
    /// which history id it tells of.
    pub(super) handed_out: Mutex<BTreeMap<String, Marked>>,
}

impl Marks {
    async fn counts(&self) -> BTreeMap<String, Marked> {
        let mut tx = self.store.read().await.expect("a transaction");
        let all = mailboxes::list(&mut tx, &self.organization, i64::MAX).await.expect("read");
        all.into_iter().map(|it| (it.email, (it.id, it.notices, it.cursor))).collect()
    }

    async fn hand_out(&self, answer: &[u8]) {
        let answer: Value = serde_json::from_slice(answer).unwrap_or_default();
        let Some(messages) = answer["receivedMessages"].as_array() else { return };
        let counts = self.counts().await;
        let mut handed_out = self.handed_out.lock().unwrap_or_else(PoisonError::into_inner);
        for message in messages {
            let data = STANDARD.decode(message["message"]["data"].as_str().unwrap_or_default()).unwrap_or_default();
            let notice: Value = serde_json::from_slice(&data).unwrap_or_default();
            let marked = counts.get(notice["emailAddress"].as_str().unwrap_or_default());
            let told = notice["historyId"].as_u64().map(HistoryId);
            let acknowledgement = message["ackId"].as_str().unwrap_or_default().to_owned();
            handed_out.extend(marked.cloned().map(|(id, before, _)| (acknowledgement, (id, before, told))));
        }
    }

    async fn acknowledged(&self, request: &Request) {
        let body = request.body().and_then(reqwest::Body::as_bytes).unwrap_or_default();
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let counts = self.counts().await.into_values().map(|(id, marked, cursor)| (id, (marked, cursor)));
        let counts: BTreeMap<MailboxId, (i64, Option<HistoryId>)> = counts.collect();
        let handed_out = self.handed_out.lock().unwrap_or_else(PoisonError::into_inner);
        for acknowledgement in body["ackIds"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            let Some((mailbox, before, told)) = handed_out.get(acknowledgement) else { continue };
            // What the cursor has reached needs no mark.
            let is_read = |cursor: &Option<HistoryId>| told.is_some() && cursor >= told;
            let marked = counts.get(mailbox).is_none_or(|(now, cursor)| now > before || is_read(cursor));
            assert!(marked, "promise 3: a notice of {mailbox} is acknowledged before its mark is committed");
        }
    }
}

impl Network {
    /// Stops a request until the director decides; where that keeps silent, until its deadline.
    async fn stop(&self, stop: Stop, is_poll: bool, deadline: Timestamp) -> Result<(), NotCarried> {
        match self.stage.stop(stop).await {
            Verdict::Go => Ok(()),
            Verdict::Fail => Err(NotCarried { timed_out: is_poll, source: None }),
            Verdict::Hang => {
                self.stage.stop(Stop::Silence(deadline)).await;
                Err(NotCarried { timed_out: true, source: None })
            }
        }
    }
}

impl Transport for Network {
    fn carry(&self, request: Request) -> Carrying<'_> {
        Box::pin(async move {
            let path = request.url().path().to_owned();
            let is_poll = path.ends_with(":pull");
            let name = format!("{} {path}", request.method());
            let ask = if is_poll { Stop::Poll } else { Stop::Ask(name.clone()) };
            let deadline = self.clock.now() + DEADLINE;
            self.stop(ask, is_poll, deadline).await?;
            if path.ends_with(":acknowledge") {
                self.marks.acknowledged(&request).await;
            }
            let answer = self.sandbox.answer(inward(request)).await;
            let (parts, body) = answer.into_parts();
            let body = to_bytes(body, ANSWER_BYTES_MAX).await.expect("the false Google's answer is whole");
            if is_poll {
                self.marks.hand_out(&body).await;
            }
            self.stop(Stop::Answer(name), is_poll, deadline).await?;
            Ok(Response::from(http::Response::from_parts(parts, reqwest::Body::from(body))))
        })
    }
}
