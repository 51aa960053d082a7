//! A collector of the test's own: OTLP over HTTP, in protobuf, read by the numbers of opentelemetry-proto 1.x.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::harness::Authority;

/// What a collector does with what it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Takes,
    Answers(u16),
    /// Never answers.
    Silent,
}

#[derive(Default)]
pub(super) struct Got {
    pub(super) spans: Vec<Span>,
    pub(super) lines: Vec<Line>,
    pub(super) resource: Attributes,
    pub(super) headers: Vec<HeaderMap>,
    pub(super) raw: Vec<u8>,
    /// How often something was sent, whatever came of it.
    pub(super) asked: usize,
}

pub(super) struct Collector {
    pub(super) url: String,
    mood: Mutex<Mood>,
    pub(super) got: Mutex<Got>,
}

type Attributes = BTreeMap<String, String>;

#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) trace: String,
    pub(super) id: String,
    pub(super) parent: String,
    pub(super) state: String,
    pub(super) name: String,
    pub(super) kind: u64,
    pub(super) begun: u64,
    pub(super) ended: u64,
    pub(super) attributes: Attributes,
    pub(super) is_error: bool,
    pub(super) flags: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) at: u64,
    pub(super) severity: u64,
    pub(super) severity_text: String,
    pub(super) body: String,
    pub(super) attributes: Attributes,
    pub(super) trace: String,
    pub(super) span: String,
}

impl Collector {
    pub(super) async fn start() -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        Self::serve(url, listener)
    }

    /// Over TLS, with a certificate of this authority.
    pub(super) async fn start_tls(authority: &Authority, directory: &Path) -> Arc<Self> {
        let issued = authority.issue("collector");
        issued.write(directory, "collector");
        fs::write(directory.join("collector-ca.pem"), authority.pem()).unwrap();
        let key = PrivateKeyDer::from_pem_file(directory.join("collector.key")).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.unwrap().with_no_client_auth();
        let config = config.with_single_cert(vec![issued.der.clone()], key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // With a path of its own, as hosted collectors have.
        let url = format!("https://localhost:{}/otlp", listener.local_addr().unwrap().port());
        Self::serve(url, OverTls { listener, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    fn serve<L: Listener<Addr = SocketAddr>>(url: String, listener: L) -> Arc<Self> {
        let this = Arc::new(Self { url, mood: Mutex::new(Mood::Takes), got: Mutex::default() });
        let router = Router::new().fallback(take).with_state(Arc::clone(&this));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        this
    }

    pub(super) fn is_now(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// What is there of what it got, once there is something.
    pub(super) async fn finds<T>(&self, what: &str, find: impl Fn(&Got) -> Option<T>) -> T {
        let found = async {
            loop {
                if let Some(found) = find(&self.got.lock().unwrap()) {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let found = tokio::time::timeout(Duration::from_secs(40), found).await;
        found.unwrap_or_else(|_| panic!("{what} does not arrive: {:?}", self.got.lock().unwrap().spans))
    }
}

async fn take(
    State(collector): State<Arc<Collector>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    collector.got.lock().unwrap().asked += 1;
    let mood = *collector.mood.lock().unwrap();
    match mood {
        Mood::Takes => {}
        Mood::Answers(status) => return StatusCode::from_u16(status).unwrap().into_response(),
        Mood::Silent => std::future::pending().await,
    }
    assert_eq!(headers["content-type"], "application/x-protobuf");
    let got = &mut *collector.got.lock().unwrap();
    for part in Message::parse(&body).messages(1) {
        let resource = part.messages(1).remove(0);
        got.resource = attributes(&resource, 1);
        for scope in part.messages(2) {
            match uri.path().rsplit_once("/v1/").unwrap().1 {
                "traces" => got.spans.extend(scope.messages(2).iter().map(Span::read)),
                "logs" => got.lines.extend(scope.messages(2).iter().map(Line::read)),
                other => panic!("{other}"),
            }
        }
    }
    got.headers.push(headers);
    got.raw.extend_from_slice(&body);
    StatusCode::OK.into_response()
}

struct OverTls {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for OverTls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.listener.accept().await.unwrap();
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

// === Protocol Buffers ===

#[derive(Clone, Debug)]
enum Value {
    Number(u64),
    Bytes(Vec<u8>),
}

struct Message(Vec<(u64, Value)>);

impl Message {
    fn parse(mut bytes: &[u8]) -> Self {
        let mut fields = Vec::new();
        while !bytes.is_empty() {
            let tag = varint(&mut bytes);
            let value = match tag & 7 {
                0 => Value::Number(varint(&mut bytes)),
                1 => Value::Number(u64::from_le_bytes(taken(&mut bytes, 8).try_into().unwrap())),
                2 => {
                    let length = usize::try_from(varint(&mut bytes)).unwrap();
                    Value::Bytes(taken(&mut bytes, length).to_vec())
                }
                5 => Value::Number(u32::from_le_bytes(taken(&mut bytes, 4).try_into().unwrap()).into()),
                other => panic!("no such type on the wire: {other}"),
            };
            fields.push((tag >> 3, value));
        }
        Self(fields)
    }

    fn all(&self, field: u64) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |(number, _)| *number == field).map(|(_, value)| value)
    }

    fn bytes(&self, field: u64) -> Vec<u8> {
        let Some(value) = self.all(field).next() else { return Vec::new() };
        let Value::Bytes(bytes) = value else { panic!("{field}: {value:?}") };
        bytes.clone()
    }

    fn hex(&self, field: u64) -> String {
        let mut text = String::new();
        for byte in self.bytes(field) {
            write!(text, "{byte:02x}").unwrap();
        }
        text
    }

    fn text(&self, field: u64) -> String {
        String::from_utf8(self.bytes(field)).unwrap()
    }

    fn number(&self, field: u64) -> u64 {
        match self.all(field).next() {
            None => 0,
            Some(Value::Number(number)) => *number,
            Some(value) => panic!("{field}: {value:?}"),
        }
    }

    fn messages(&self, field: u64) -> Vec<Self> {
        let parse = |value: &Value| match value {
            Value::Bytes(bytes) => Self::parse(bytes),
            Value::Number(_) => panic!("{field}: {value:?}"),
        };
        self.all(field).map(parse).collect()
    }
}

fn taken<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(count);
    *bytes = rest;
    taken
}

fn varint(bytes: &mut &[u8]) -> u64 {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = taken(bytes, 1)[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return value;
        }
        shift += 7;
    }
}

/// `KeyValue`s; every value as text.
fn attributes(message: &Message, field: u64) -> Attributes {
    let pairs = message.messages(field);
    let count = pairs.len();
    let read: Attributes =
        pairs.iter().map(|pair| (pair.text(1), any(&pair.messages(2).remove(0)))).collect();
    assert_eq!(read.len(), count, "a name is there once: {read:?}");
    read
}

/// An `AnyValue`.
fn any(value: &Message) -> String {
    match &value.0[..] {
        [(1, _)] => value.text(1),
        [(2, _)] => (value.number(2) == 1).to_string(),
        [(3, _)] => value.number(3).cast_signed().to_string(),
        [(4, _)] => f64::from_bits(value.number(4)).to_string(),
        other => panic!("{other:?}"),
    }
}

impl Span {
    fn read(message: &Message) -> Self {
        Self {
            trace: message.hex(1),
            id: message.hex(2),
            state: message.text(3),
            parent: message.hex(4),
            name: message.text(5),
            kind: message.number(6),
            begun: message.number(7),
            ended: message.number(8),
            attributes: attributes(message, 9),
            is_error: message.messages(15).first().is_some_and(|status| status.number(3) == 2),
            flags: message.number(16),
        }
    }

    pub(super) fn says(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

impl Line {
    fn read(message: &Message) -> Self {
        Self {
            at: message.number(1),
            severity: message.number(2),
            severity_text: message.text(3),
            body: message.messages(5).first().map(any).unwrap_or_default(),
            attributes: attributes(message, 6),
            trace: message.hex(9),
            span: message.hex(10),
        }
    }

    pub(super) fn says(&self, name: &str) -> &str {
        self.attributes.get(name).map_or("", String::as_str)
    }
}

impl Got {
    /// The span of a request.
    pub(super) fn span(&self, request_id: &str) -> Option<&Span> {
        self.spans.iter().find(|span| span.says("jeton.request_id") == request_id)
    }
}
