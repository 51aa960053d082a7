//! The words of the spans that stand for requests, and for what is done for them. What makes a span and what hears of
//! it (`telemetry/requests.rs`) have nothing in common but these.

/// The target of the span that stands for a request.
pub const REQUEST: &str = "jeton::request";

/// The same where it is recorded for a collector. Whatever a filter of the log says of [`REQUEST`] holds for it too.
pub const RECORDED: &str = "jeton::request::recorded";

/// The target of spans that stand for what is done for one.
pub const PHASE: &str = "jeton::phase";

/// A client is being found and its credential checked.
pub const AUTHENTICATE: &str = "authenticate";

/// A grant finds out whom a token is about.
pub const RESOLVE: &str = "resolve";

/// What is granted is being decided.
pub const DECIDE: &str = "decide";

/// A token is being signed.
pub const SIGN: &str = "sign";

/// An event is being made durable.
pub const RECORD: &str = "record";

/// Keys are being fetched, from others.
pub const FETCH_KEYS: &str = "fetch keys";

/// What is told of a request: the grant that it asks for.
pub const GRANT_TYPE: &str = "jeton.grant_type";

/// How its client authenticates.
pub const AUTH_METHOD: &str = "jeton.auth_method";

/// Who its client is.
pub const CLIENT_ID: &str = "jeton.client_id";
