//! Placeholder.
pub(crate) fn routes() -> axum::Router<std::sync::Arc<crate::Shared>> {
    axum::Router::new()
}
