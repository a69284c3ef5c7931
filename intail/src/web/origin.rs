//! From where a request comes. A proxy on this machine says whom it asks for; anybody else could write anything there,
//! so nobody else is believed.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::HeaderMap;
use axum::http::request::Parts;

use super::Web;
use crate::org::audit::Origin;

/// The header in which proxies say whom they ask for, each adding the address that it saw.
const FORWARDED_FOR: &str = "x-forwarded-for";

impl FromRequestParts<Web> for Origin {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, _: &Web) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(it)| it.ip().to_canonical());
        Ok(peer.map_or(Self::Unknown, |peer| Self::Address(asker(peer, &parts.headers))))
    }
}

/// Who asks: the address that a proxy on this machine saw, or else the peer itself.
fn asker(peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let told = headers.get_all(FORWARDED_FOR).iter().next_back().and_then(|value| value.to_str().ok());
    let nearest = told.and_then(|it| it.rsplit(',').next()).and_then(|it| it.trim().parse::<IpAddr>().ok());
    nearest.filter(|_| peer.is_loopback()).map_or(peer, |it| it.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_a_proxy_on_this_machine_is_believed() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        let mut headers = HeaderMap::new();
        assert_eq!(asker(ip("127.0.0.1"), &headers), ip("127.0.0.1"));
        headers.append(FORWARDED_FOR, HeaderValue::from_static("10.0.0.1"));
        headers.append(FORWARDED_FOR, HeaderValue::from_static("10.0.0.2, 192.0.2.7"));
        assert_eq!(asker(ip("127.0.0.1"), &headers), ip("192.0.2.7"), "the nearest, not what the asker wrote");
        assert_eq!(asker(ip("198.51.100.4"), &headers), ip("198.51.100.4"));
        headers.insert(FORWARDED_FOR, HeaderValue::from_static("unknown"));
        assert_eq!(asker(ip("::1"), &headers), ip("::1"));
    }
}
