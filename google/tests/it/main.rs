//! The client over real HTTP against a small server in the same process, and its list of calls against Google's
//! discovery documents. What a test must not do: wait for time to pass, or reach another machine.

mod contract;
mod id_token;
mod sending;
mod server;
mod streams;
