//! One connection, served: HTTP/1.1 or HTTP/2 by hyper, with its limits around it.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, Request};
use axum::response::Response;
use http::header::CONNECTION;
use http::{HeaderValue, StatusCode, Version};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tower_service::Service;

use super::connection::Peer;
use super::link::{Link, Order, UnderWay};
use super::middleware::Observed;

/// By how much hyper's limit on headers is over ours: what is between them gets an answer that says what to do.
const HEADER_MARGIN: usize = 16_384;

/// How often a connection of HTTP/2 is asked whether anybody is still there, and how long the answer may take.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

/// How many streams a caller may have opened and taken back, without our having looked at them (CVE-2023-44487).
const TAKEN_BACK: usize = 20;

/// How many streams may be reset for a caller's own errors.
const ERRORS: usize = 256;

/// An answer, as it is made.
type Answering = Pin<Box<dyn Future<Output = Response> + Send>>;

/// What answers requests.
pub(super) trait Application: Clone + Send + Sync + 'static {
    /// Answers one.
    fn answer(&self, request: Request) -> Answering;
}

/// How HTTP is spoken.
#[derive(Clone)]
pub(super) struct Protocol(Arc<Builder<TokioExecutor>>);

/// A connection that tells what happens on it.
struct Watched<S> {
    io: S,
    link: Arc<Link>,
}

/// What answers the requests of one connection.
struct Answers<A> {
    application: A,
    peer: Peer,
    link: Arc<Link>,
}

/// One request, until there is an answer.
struct Asked {
    answering: Answering,
    under_way: Option<UnderWay>,
    version: Version,
}

/// The body of an answer. The request is over with it.
struct Answer {
    body: Body,
    _under_way: Option<UnderWay>,
}

// === impl Application ===

impl Application for Observed {
    fn answer(&self, request: Request) -> Answering {
        Self::answer(self, request)
    }
}

impl Application for Router {
    fn answer(&self, request: Request) -> Answering {
        let mut router = self.clone();
        Box::pin(async move {
            match router.call(request).await {
                Ok(answer) => answer,
                Err(never) => match never {},
            }
        })
    }
}

// === impl Protocol ===

impl Protocol {
    /// With headers of at most so many bytes, and so many requests at a time on a connection of HTTP/2.
    pub(super) fn new(max_header_size: usize, max_streams: u32) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        let most = max_header_size + HEADER_MARGIN;
        // Our own limits see to the time: hyper's would cost a timer for each request.
        builder.http1().header_read_timeout(None).max_buf_size(most);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(max_streams)
            .max_header_list_size(u32::try_from(most).unwrap_or(u32::MAX))
            .keep_alive_interval(PING.0)
            .keep_alive_timeout(PING.1)
            .max_pending_accept_reset_streams(TAKEN_BACK)
            .max_local_error_reset_streams(ERRORS);
        Self(Arc::new(builder))
    }

    /// Serves a connection to its end.
    pub(super) async fn serve<S, A>(self, io: S, peer: Peer, link: Arc<Link>, application: A)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        A: Application,
    {
        let io = TokioIo::new(Watched { io, link: Arc::clone(&link) });
        let answers = Answers { application, peer, link: Arc::clone(&link) };
        if link.order() != Order::None {
            return;
        }
        let mut connection = pin!(self.0.serve_connection(io, answers));
        loop {
            tokio::select! {
                served = connection.as_mut() => {
                    if let Err(error) = served {
                        tracing::debug!(%error, "a connection ended");
                    }
                    return;
                }
                order = link.told() => match order {
                    Order::None => {}
                    Order::Finish => connection.as_mut().graceful_shutdown(),
                    Order::Cut => return,
                },
            }
        }
    }
}

// === impl Watched ===

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buffer);
        if buffer.filled().len() > before {
            self.link.has_read();
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> Watched<S> {
    /// A write that cannot go on waits for the other end.
    fn noted<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_pending() {
            self.link.stalls();
        }
        written
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buffer);
        self.noted(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, buffers);
        self.noted(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(cx);
        // Not at each write: who reads a byte now and then would have all the time in the world.
        if flushed.is_ready() {
            self.link.has_written();
        }
        self.noted(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.io).poll_shutdown(cx);
        self.noted(shut)
    }
}

// === impl Answers ===

impl<A: Application> hyper::service::Service<http::Request<Incoming>> for Answers<A> {
    type Response = http::Response<Answer>;
    type Error = Infallible;
    type Future = Asked;

    fn call(&self, request: http::Request<Incoming>) -> Asked {
        let version = request.version();
        let under_way = UnderWay::begin(&self.link, version == Version::HTTP_2);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ConnectInfo(self.peer.clone()));
        Asked { answering: self.application.answer(request), under_way: Some(under_way), version }
    }
}

impl Future for Asked {
    type Output = Result<http::Response<Answer>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut answer = ready!(self.answering.as_mut().poll(cx));
        // Whoever was too slow once begins anew (RFC 9110 §15.5.9). HTTP/2 knows no such header.
        if answer.status() == StatusCode::REQUEST_TIMEOUT && self.version != Version::HTTP_2 {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        let under_way = self.under_way.take();
        if let Some(under_way) = &under_way {
            under_way.is_answered();
        }
        Poll::Ready(Ok(answer.map(|body| Answer { body, _under_way: under_way })))
    }
}

// === impl Answer ===

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
