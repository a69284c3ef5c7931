//! Organizations and what is theirs: who may join, what is known of the administrator's approval, the audit log, and
//! the receipts of what was asked of Google for their people.

pub mod approval;
pub mod audit;
pub mod joining;
pub mod receipts;
