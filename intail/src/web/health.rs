//! What machines ask: is it alive, is it ready, how is it doing. No person, address or subject can appear here.

use std::fmt::Write as _;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::Web;
use super::trouble::Trouble;
use crate::store::gauges::{self, Gauges};
use crate::store::{StoreError, heartbeat, operator_faults};

/// `GET /healthz`: the process answers.
pub(super) async fn alive() -> &'static str {
    "alive\n"
}

/// `GET /readyz`: the store answers too. Faults that only the operator can mend are listed by kind; they don't make the
/// instance unready, because another instance would have them as well.
pub(super) async fn ready(State(web): State<Web>) -> Response {
    match faults(&web).await {
        Ok(kinds) => Json(json!({ "ready": true, "operator_faults": kinds })).into_response(),
        Err(error) => {
            tracing::error!(%error, "not ready: the store doesn't answer");
            let body = json!({ "ready": false, "why": "The store doesn't answer; the log says more." });
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}

async fn faults(web: &Web) -> Result<Vec<String>, StoreError> {
    let mut tx = web.app.store.read().await?;
    Ok(operator_faults::list(&mut tx).await?.into_iter().map(|it| it.kind).collect())
}

/// `GET /metrics`: Prometheus' text form.
pub(super) async fn metrics(State(web): State<Web>) -> Result<Response, Trouble> {
    let now = web.app.clock.now();
    let mut tx = web.app.store.read().await?;
    let gauges = gauges::read(&mut tx, now).await?;
    let faults = operator_faults::list(&mut tx).await?.len();
    let beat = heartbeat::get(&mut tx).await?;
    drop(tx);
    let mut text = String::new();
    let lag_s = gauges.due_first_at.map_or(0.0, |at| now.duration_since(at).as_secs_f64().max(0.0));
    write_gauges(&mut text, &gauges, lag_s);
    family(&mut text, "intail_operator_faults", "gauge", "Things that only the operator can mend.");
    sample(&mut text, "intail_operator_faults", &[], faults);
    if let Some((arrived_at, sent_at)) = beat.and_then(|it| it.arrived_at.zip(it.arrived_sent_at)) {
        let age_s = now.duration_since(arrived_at).as_secs_f64().max(0.0);
        let name = "intail_heartbeat_age_seconds";
        family(&mut text, name, "gauge", "How long ago the way from topic to worker was proved.");
        sample(&mut text, name, &[], age_s);
        let name = "intail_heartbeat_lag_seconds";
        family(&mut text, name, "gauge", "How long the last heartbeat took from before its sending to its mark.");
        sample(&mut text, name, &[], arrived_at.duration_since(sent_at).as_secs_f64().max(0.0));
    }
    family(&mut text, "intail_live_readers", "gauge", "Live readers of the feed on this instance.");
    sample(&mut text, "intail_live_readers", &[], web.seats.taken());
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

fn write_gauges(text: &mut String, gauges: &Gauges, lag_s: f64) {
    family(text, "intail_mailboxes", "gauge", "Mailboxes by what the engine does with them.");
    for (state, count) in &gauges.mailboxes {
        sample(text, "intail_mailboxes", &[("state", state)], count);
    }
    family(text, "intail_grants", "gauge", "Grants by state.");
    for (state, count) in &gauges.grants {
        sample(text, "intail_grants", &[("state", state)], count);
    }
    family(text, "intail_due_lag_seconds", "gauge", "How long the mailbox that has waited longest is overdue.");
    sample(text, "intail_due_lag_seconds", &[], lag_s);
    let name = "intail_streams_failing";
    family(text, name, "gauge", "Mailboxes, calendars and directories that Google hasn't let Intail read for minutes.");
    for (stream, count) in &gauges.failing {
        sample(text, name, &[("stream", stream.word())], count);
    }
    family(text, "intail_debts", "gauge", "Messages that failed and are retried.");
    sample(text, "intail_debts", &[], gauges.debts);
    family(text, "intail_fills", "gauge", "Messages that are known of and not fetched yet.");
    sample(text, "intail_fills", &[], gauges.fills);
    if let Some(at) = gauges.watch_first_expiry_at {
        family(text, "intail_watch_first_expiry_seconds", "gauge", "When the first watch ends, in seconds since 1970.");
        sample(text, "intail_watch_first_expiry_seconds", &[], at.as_second());
    }
    family(text, "intail_google_calls", "counter", "Calls to Google on people's behalf.");
    for (call, outcome, calls, _) in &gauges.calls {
        sample(text, "intail_google_calls", &[("call", call), ("outcome", outcome)], calls);
    }
    family(text, "intail_google_units", "counter", "Google's quota units spent.");
    for (call, outcome, _, units) in &gauges.calls {
        sample(text, "intail_google_units", &[("call", call), ("outcome", outcome)], units);
    }
}

fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn sample(text: &mut String, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
    let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{}\"", quoted(value))).collect();
    let _ = match labels.is_empty() {
        true => writeln!(text, "{name} {value}"),
        false => writeln!(text, "{name}{{{}}} {value}", labels.join(",")),
    };
}

fn quoted(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_read_as_prometheus_expects() {
        let mut text = String::new();
        sample(&mut text, "a", &[], 1);
        sample(&mut text, "b", &[("call", "x\"y\\\n"), ("outcome", "ok")], 2.5);
        assert_eq!(text, "a 1\nb{call=\"x\\\"y\\\\\\n\",outcome=\"ok\"} 2.5\n");
    }
}
