//! Google's error envelope for its JSON APIs, with Google's own sentences. Clients classify by status and reason word
//! and some by the sentence, so a wording here changes only when Google's does.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::accounts::AuthFailure;

/// An error as Google's APIs answer it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ApiError {
    pub(crate) code: u16,
    pub(crate) message: String,
    pub(crate) reason: &'static str,
    domain: &'static str,
    status: &'static str,
    /// Whether the inner error points at the `Authorization` header.
    locates_header: bool,
    details: Option<Box<Value>>,
    authenticate: Option<&'static str>,
    /// Pub/Sub and the IAM calls answer without the inner list of errors.
    inner: bool,
}

impl ApiError {
    fn new(code: u16, status: &'static str, reason: &'static str, message: impl Into<String>) -> ApiError {
        ApiError {
            code,
            message: message.into(),
            reason,
            domain: "global",
            status,
            locates_header: false,
            details: None,
            authenticate: None,
            inner: true,
        }
    }

    /// 400 for an argument that Google can't use.
    pub(crate) fn invalid_argument(message: impl Into<String>) -> ApiError {
        ApiError::new(400, "INVALID_ARGUMENT", "invalidArgument", message)
    }

    /// 400 for a query parameter that the call doesn't have.
    pub(crate) fn unknown_parameter(name: &str) -> ApiError {
        let message = format!(
            "Invalid JSON payload received. Unknown name \"{name}\": Cannot bind query parameter. \
             Field '{name}' could not be found in request message."
        );
        ApiError { reason: "badRequest", ..ApiError::invalid_argument(message) }
    }

    /// 400 for a body that is not what the call wants.
    pub(crate) fn invalid_body(message: impl Into<String>) -> ApiError {
        ApiError { reason: "parseError", ..ApiError::invalid_argument(message) }
    }

    /// 400 for an account on which Gmail is off.
    pub(crate) fn no_mailbox() -> ApiError {
        ApiError::new(400, "FAILED_PRECONDITION", "failedPrecondition", "Mail service not enabled")
    }

    /// 400 when the state of the world forbids the call.
    pub(crate) fn failed_precondition(message: impl Into<String>) -> ApiError {
        ApiError::new(400, "FAILED_PRECONDITION", "failedPrecondition", message)
    }

    /// 401 by why the call is not authenticated.
    pub(crate) fn unauthenticated(failure: AuthFailure) -> ApiError {
        const EXPECTED: &str = "Expected OAuth 2 access token, login cookie or other valid authentication credential. \
             See https://developers.google.com/identity/sign-in/web/devconsole-project.";
        match failure {
            AuthFailure::Missing => ApiError {
                locates_header: true,
                authenticate: Some("Bearer realm=\"https://accounts.google.com/\""),
                ..ApiError::new(
                    401,
                    "UNAUTHENTICATED",
                    "required",
                    format!("Request is missing required authentication credential. {EXPECTED}"),
                )
            },
            AuthFailure::Invalid | AuthFailure::Expired => ApiError {
                locates_header: true,
                authenticate: Some("Bearer realm=\"https://accounts.google.com/\", error=\"invalid_token\""),
                ..ApiError::new(
                    401,
                    "UNAUTHENTICATED",
                    "authError",
                    format!("Request had invalid authentication credentials. {EXPECTED}"),
                )
            },
        }
    }

    /// 403 with the reason `forbidden`.
    pub(crate) fn forbidden(message: impl Into<String>) -> ApiError {
        ApiError::new(403, "PERMISSION_DENIED", "forbidden", message)
    }

    /// 403 because the token doesn't carry a scope that the call accepts.
    pub(crate) fn scope_missing(service: &str, method: &str) -> ApiError {
        let details = json!([{
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
            "domain": "googleapis.com",
            "metadata": {"service": service, "method": method},
        }]);
        let message = "Request had insufficient authentication scopes.";
        ApiError {
            details: Some(Box::new(details)),
            authenticate: Some("Bearer realm=\"https://accounts.google.com/\", error=\"insufficient_scope\""),
            ..ApiError::new(403, "PERMISSION_DENIED", "insufficientPermissions", message)
        }
    }

    /// 404 with Google's usual sentence.
    pub(crate) fn not_found() -> ApiError {
        ApiError::new(404, "NOT_FOUND", "notFound", "Requested entity was not found.")
    }

    /// 404 with a sentence of its own.
    pub(crate) fn not_found_because(message: impl Into<String>) -> ApiError {
        ApiError { message: message.into(), ..ApiError::not_found() }
    }

    /// 409 because the thing exists.
    pub(crate) fn already_exists(message: impl Into<String>) -> ApiError {
        ApiError::new(409, "ALREADY_EXISTS", "alreadyExists", message)
    }

    /// 409 because somebody else changed it in between.
    pub(crate) fn aborted(message: impl Into<String>) -> ApiError {
        ApiError::new(409, "ABORTED", "aborted", message)
    }

    /// 403 because a minute's or a day's units are used up. The reason word is `rateLimitExceeded` also when it is the
    /// person's limit (seen so in reports).
    pub(crate) fn quota_minute(limit: &str, project_number: u64) -> ApiError {
        let message = format!(
            "Quota exceeded for quota metric 'Queries' and limit '{limit}' of service 'gmail.googleapis.com' \
             for consumer 'project_number:{project_number}'."
        );
        ApiError { domain: "usageLimits", ..ApiError::new(403, "PERMISSION_DENIED", "rateLimitExceeded", message) }
    }

    /// 403 because the day's units are used up.
    pub(crate) fn quota_day() -> ApiError {
        let error = ApiError::new(403, "PERMISSION_DENIED", "dailyLimitExceeded", "Daily Limit Exceeded");
        ApiError { domain: "usageLimits", ..error }
    }

    /// 403 because a person's requests of a minute are used up (Calendar and Directory).
    pub(crate) fn requests_of_person() -> ApiError {
        let error = ApiError::new(403, "PERMISSION_DENIED", "userRateLimitExceeded", "User Rate Limit Exceeded");
        ApiError { domain: "usageLimits", ..error }
    }

    /// 403 because a project's requests of a minute are used up (Calendar).
    pub(crate) fn requests_of_project(service: &str, project_number: u64) -> ApiError {
        let message = format!(
            "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute' of service '{service}' \
             for consumer 'project_number:{project_number}'."
        );
        ApiError { domain: "usageLimits", ..ApiError::new(403, "PERMISSION_DENIED", "rateLimitExceeded", message) }
    }

    /// 410 with the reason words of Calendar's guide on errors, and `deleted` for everything else that is gone.
    pub(crate) fn gone(reason: &str) -> ApiError {
        let (reason, domain, message) = match reason {
            "fullSyncRequired" => {
                ("fullSyncRequired", "calendar", "Sync token is no longer valid, a full sync is required.")
            }
            "updatedMinTooLongAgo" => (
                "updatedMinTooLongAgo",
                "calendar",
                "The requested minimum modification time lies too far in the past.",
            ),
            _ => ("deleted", "global", "Resource has been deleted"),
        };
        ApiError { domain, ..ApiError::new(410, "GONE", reason, message) }
    }

    /// 400 with the reason that Calendar and the Directory give.
    pub(crate) fn bad_request(message: impl Into<String>) -> ApiError {
        ApiError { reason: "badRequest", ..ApiError::invalid_argument(message) }
    }

    /// 400 for a channel that can't be opened.
    pub(crate) fn of_channel(reason: &'static str, message: impl Into<String>) -> ApiError {
        ApiError { reason, ..ApiError::invalid_argument(message) }
    }

    /// 501 for what Google can and this sandbox can't.
    pub(crate) fn not_here(message: impl Into<String>) -> ApiError {
        ApiError::new(501, "UNIMPLEMENTED", "notImplemented", message)
    }

    /// 429 that names the instant from which to try again.
    pub(crate) fn quota_until(until: Timestamp) -> ApiError {
        let message = format!("User-rate limit exceeded.  Retry after {}", milliseconds(until));
        ApiError::new(429, "RESOURCE_EXHAUSTED", "userRateLimitExceeded", message)
    }

    /// 429 because too many requests for one mailbox run at once.
    pub(crate) fn too_many_at_once() -> ApiError {
        let message = "Too many concurrent requests for user";
        ApiError::new(429, "RESOURCE_EXHAUSTED", "rateLimitExceeded", message)
    }

    /// The usual answer of this status, for injected faults; `reason` chooses between the known 400s and 403s.
    pub(crate) fn injected(code: u16, reason: Option<&str>, message: Option<&str>, now: Timestamp) -> ApiError {
        let usage = |error: ApiError| ApiError { domain: "usageLimits", ..error };
        let denied = |reason, message| ApiError::new(403, "PERMISSION_DENIED", reason, message);
        let error = match (code, reason) {
            (400, Some("failedPrecondition")) => ApiError::failed_precondition("Precondition check failed."),
            (400, _) => ApiError::invalid_argument("Request contains an invalid argument."),
            (401, Some("push.webhookUrlUnauthorized")) => {
                let message = "Unauthorized WebHook callback channel";
                ApiError::new(401, "UNAUTHENTICATED", "push.webhookUrlUnauthorized", message)
            }
            (401, _) => ApiError::unauthenticated(AuthFailure::Invalid),
            (403, Some("rateLimitExceeded")) => usage(denied("rateLimitExceeded", "Rate Limit Exceeded")),
            (403, Some("userRateLimitExceeded")) => usage(denied("userRateLimitExceeded", "User Rate Limit Exceeded")),
            (403, Some("dailyLimitExceeded")) => ApiError::quota_day(),
            (403, Some("quotaExceeded")) => usage(denied("quotaExceeded", "Quota exceeded.")),
            (403, Some("domainPolicy")) => {
                denied("domainPolicy", "The domain administrators have disabled Gmail apps.")
            }
            (403, Some("accessNotConfigured")) => usage(denied(
                "accessNotConfigured",
                "Gmail API has not been used in this project before or it is disabled. Enable it and retry.",
            )),
            (403, Some("insufficientPermissions")) => ApiError::scope_missing("gmail.googleapis.com", ""),
            (403, _) => ApiError::forbidden("The caller does not have permission"),
            (404, _) => ApiError::not_found(),
            (409, _) => ApiError::aborted("The operation was aborted."),
            (410, reason) => ApiError::gone(reason.unwrap_or("fullSyncRequired")),
            (429, Some("userRateLimitExceeded")) => {
                ApiError::quota_until(now.saturating_add(jiff::SignedDuration::from_mins(15)).unwrap_or(now))
            }
            (429, Some("concurrent")) => ApiError::too_many_at_once(),
            (429, _) => ApiError::new(
                429,
                "RESOURCE_EXHAUSTED",
                "rateLimitExceeded",
                "Resource has been exhausted (e.g. check quota).",
            ),
            (501, _) => ApiError::new(501, "UNIMPLEMENTED", "notImplemented", "Method not implemented"),
            (503, _) => ApiError::new(503, "UNAVAILABLE", "backendError", "The service is currently unavailable."),
            _ => ApiError { code, ..ApiError::new(500, "INTERNAL", "backendError", "Internal error encountered.") },
        };
        match message {
            Some(message) => ApiError { message: message.to_owned(), ..error },
            None => error,
        }
    }

    /// The same error as the services without an inner list answer it (Pub/Sub).
    pub(crate) fn plain(mut self) -> ApiError {
        self.inner = false;
        self
    }

    /// The JSON body.
    pub(crate) fn body(&self) -> Value {
        let mut error = json!({"code": self.code, "message": self.message});
        if self.inner {
            let mut inner = json!({"message": self.message, "domain": self.domain, "reason": self.reason});
            if self.code == 401 && self.reason == "authError" {
                inner["message"] = json!("Invalid Credentials");
            }
            if self.locates_header {
                inner["location"] = json!("Authorization");
                inner["locationType"] = json!("header");
            }
            error["errors"] = json!([inner]);
        }
        error["status"] = json!(self.status);
        if let Some(details) = &self.details {
            error["details"] = Value::clone(details);
        }
        json!({"error": error})
    }
}

/// An instant with milliseconds, as Google writes it into its sentences.
fn milliseconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let code = StatusCode::from_u16(self.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (code, axum::Json(self.body())).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=UTF-8"));
        if let Some(authenticate) = self.authenticate {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(authenticate));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_envelope_has_googles_shape() {
        let body = ApiError::forbidden("Metadata scope doesn't allow format FULL").body();
        assert_eq!(
            body,
            json!({"error": {"code": 403, "message": "Metadata scope doesn't allow format FULL",
                "errors": [{"message": "Metadata scope doesn't allow format FULL",
                    "domain": "global", "reason": "forbidden"}],
                "status": "PERMISSION_DENIED"}})
        );
    }

    #[test]
    fn pubsub_answers_without_the_inner_list() {
        let body = ApiError::already_exists("Resource already exists in the project.").plain().body();
        assert!(body["error"].get("errors").is_none());
        assert_eq!(body["error"]["status"], "ALREADY_EXISTS");
    }

    #[test]
    fn the_retry_instant_stands_in_the_sentence() {
        let until: Timestamp = "2026-11-02T08:15:00.25Z".parse().unwrap();
        let error = ApiError::quota_until(until);
        assert_eq!(error.message, "User-rate limit exceeded.  Retry after 2026-11-02T08:15:00.250Z");
        assert_eq!(error.code, 429);
    }
}
