//! Calls to Google, counted for the people on whose behalf they were made. The client's hook only adds to memory; the
//! engine writes the sums beside its own commits, so that a receipt costs no transaction of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use intail_google::{CallHook, CallRecord};

use crate::id::{GrantId, OrganizationId};
use crate::store::call_counts::{self, CallCount};
use crate::store::{Store, StoreError, grants};

/// Kinds of sums that wait in memory at most; beyond it new kinds are dropped and counted in the log.
const WAITING_MAX: usize = 100_000;

type Key = (String, String, &'static str, &'static str);

/// The counter. Cheap to clone.
#[derive(Clone, Default)]
pub struct Receipts(Arc<Mutex<BTreeMap<Key, CallCount>>>);

impl CallHook for Receipts {
    fn called(&self, call: &CallRecord) {
        let Some(grant) = &call.on_behalf else { return };
        let day = call.at.strftime("%Y-%m-%d").to_string();
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (grant.clone(), day.clone(), call.call, call.outcome);
        if waiting.len() >= WAITING_MAX && !waiting.contains_key(&key) {
            tracing::warn!(call = call.call, "too many receipts wait; this one is dropped");
            return;
        }
        let sum = waiting.entry(key).or_insert_with(|| CallCount {
            day,
            call: call.call.to_owned(),
            outcome: call.outcome.to_owned(),
            calls: 0,
            units: 0,
            bytes: 0,
            last_at: call.at,
        });
        sum.calls += 1;
        sum.units += i64::from(call.units);
        sum.bytes += i64::try_from(call.bytes).unwrap_or(i64::MAX);
        sum.last_at = sum.last_at.max(call.at);
    }
}

impl Receipts {
    /// Writes what waits. Sums of grants that have gone meanwhile are forgotten with them.
    pub async fn write(&self, store: &Store) -> Result<(), StoreError> {
        let waiting = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        if waiting.is_empty() {
            return Ok(());
        }
        let result = write_all(store, &waiting).await;
        if result.is_err() {
            self.put_back(waiting);
        }
        result
    }

    fn put_back(&self, waiting: BTreeMap<Key, CallCount>) {
        let mut now_waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, sum) in waiting {
            match now_waiting.get_mut(&key) {
                None => {
                    now_waiting.insert(key, sum);
                }
                Some(there) => {
                    there.calls += sum.calls;
                    there.units += sum.units;
                    there.bytes += sum.bytes;
                    there.last_at = there.last_at.max(sum.last_at);
                }
            }
        }
    }
}

async fn write_all(store: &Store, waiting: &BTreeMap<Key, CallCount>) -> Result<(), StoreError> {
    let mut tx = store.write().await?;
    let mut known: BTreeMap<&str, Option<(GrantId, OrganizationId)>> = BTreeMap::new();
    for ((grant, ..), sum) in waiting {
        if !known.contains_key(grant.as_str()) {
            let found = match grant.parse::<GrantId>() {
                Ok(id) => grants::by_id(&mut tx, &id).await?.map(|it| (it.id, it.organization_id)),
                Err(_) => None,
            };
            known.insert(grant, found);
        }
        if let Some(Some((grant, organization))) = known.get(grant.as_str()) {
            call_counts::add(&mut tx, organization, grant, sum).await?;
        }
    }
    tx.commit().await
}
