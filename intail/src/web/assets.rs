//! The files that pages load, in the binary. A file's address carries its content's hash, so browsers keep it for
//! ever and never show a new page with an old style.

use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};

use super::asked::At;
use super::trouble::{self, Trouble};

/// A file that pages load.
pub(super) struct Asset {
    /// Its address: `/static/`, its name, the start of its hash, its ending.
    pub(super) address: String,
    media_type: &'static str,
    text: &'static str,
}

/// The addresses that templates name.
pub(super) struct Assets {
    /// The one style sheet.
    pub(super) style: Asset,
    /// The one script.
    pub(super) live: Asset,
    /// The product's mark.
    pub(super) mark: Asset,
}

/// All files.
pub(super) static ASSETS: LazyLock<Assets> = LazyLock::new(|| Assets {
    style: embedded("style", "css", "text/css; charset=utf-8", include_str!("../../static/style.css")),
    live: embedded("live", "js", "text/javascript; charset=utf-8", include_str!("../../static/live.js")),
    mark: embedded("mark", "svg", "image/svg+xml", include_str!("../../static/mark.svg")),
});

/// Bytes of the hash that the address carries: enough to tell versions apart, it proves nothing.
const HASH_BYTES: usize = 6;
/// A file under this address never changes.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

fn embedded(name: &str, ending: &str, media_type: &'static str, text: &'static str) -> Asset {
    let hash: String = Sha256::digest(text).iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect();
    Asset { address: format!("/static/{name}-{hash}.{ending}"), media_type, text }
}

/// `GET /static/{name}`
pub(super) async fn asset(At(name): At<String>) -> Result<Response, Trouble> {
    let all = [&ASSETS.style, &ASSETS.live, &ASSETS.mark];
    let found = all.into_iter().find(|it| it.address.strip_prefix("/static/") == Some(&name));
    let asset = found.ok_or_else(trouble::no_such_page)?;
    let headers = [(header::CONTENT_TYPE, asset.media_type), (header::CACHE_CONTROL, FOR_EVER)];
    Ok((headers, asset.text).into_response())
}
