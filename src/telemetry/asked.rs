//! A filter that is asked about every event.

use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Filter};

/// Asked about each event, also about those of a place in the code that it always lets pass.
///
/// Whoever only asks whether something would be told (`enabled!`, as sqlx does for each notice of `PostgreSQL`) leaves the
/// answer with the thread, and the next event there takes it for its own unless it asks itself: it would be lost.
pub(super) struct Asked<F>(pub(super) F);

// === impl Asked ===

impl<S: Subscriber, F: Filter<S>> Filter<S> for Asked<F> {
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        self.0.enabled(metadata, context)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        let interest = self.0.callsite_enabled(metadata);
        if interest.is_always() { Interest::sometimes() } else { interest }
    }

    fn event_enabled(&self, event: &Event<'_>, context: &Context<'_, S>) -> bool {
        self.0.event_enabled(event, context)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.0.max_level_hint()
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.0.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.0.on_record(id, values, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.0.on_enter(id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.0.on_exit(id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.0.on_close(id, context);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tracing::Level;
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::{EnvFilter, Layer};

    use super::*;

    struct Counts(Arc<AtomicUsize>);

    impl<S: Subscriber> Layer<S> for Counts {
        fn on_event(&self, _: &Event<'_>, _: Context<'_, S>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn an_event_after_a_mere_question_is_told() {
        let told = Arc::new(AtomicUsize::new(0));
        let filter = Asked(EnvFilter::new("info,notices=warn"));
        let subscriber = tracing_subscriber::registry().with(Counts(Arc::clone(&told)).with_filter(filter));
        tracing::subscriber::with_default(subscriber, || {
            for _ in 0..2 {
                assert!(!tracing::enabled!(target: "notices", Level::INFO));
                tracing::info!(target: "ours", "told");
            }
        });
        assert_eq!(told.load(Ordering::Relaxed), 2);
    }
}
