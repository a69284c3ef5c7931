//! Organizations and what is theirs: who may join, what is known of the administrator's approval, what may be kept of
//! their people's mail, the audit log, and the receipts of what was asked of Google for them.

pub mod approval;
pub mod audit;
pub mod joining;
pub mod privacy;
pub mod receipts;
