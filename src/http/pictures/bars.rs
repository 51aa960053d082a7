//! Numbers over time, stacked: tokens in plain colours, refusals hatched on top of them.

use super::svg::{Role, Svg, day, day_and_minute, grouped, many, minute, real, short};
use crate::domain::time::Timestamp;

/// Numbers over time.
#[derive(Clone, Debug)]
pub struct Bars<'a> {
    /// Makes what the picture refers to its own.
    pub id: &'a str,
    /// What it is called.
    pub title: &'a str,
    /// What one bar stands for.
    pub step: BarStep,
    /// When each begins.
    pub times: &'a [Timestamp],
    /// What is stacked, from the bottom.
    pub series: &'a [BarSeries],
}

/// What one bar stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarStep {
    /// An hour.
    Hour,
    /// A day.
    Day,
}

/// Numbers that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BarSeries {
    /// What they are called.
    pub name: String,
    /// Whether they are refusals: these are told apart without colours.
    pub refusals: bool,
    /// One for each time; what is missing is zero.
    pub values: Vec<u64>,
}

const WIDTH: f64 = 720.0;
const LEFT: f64 = 52.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 14.0;
const PLOT: f64 = 190.0;

/// Where the legend begins, and how high one line of it is.
const LEGEND: f64 = TOP + PLOT + 50.0;
const LINE: f64 = 20.0;

/// How many lines are drawn across, at most.
const LINES: u64 = 5;

/// How many times are written below, at most.
const TIMES: usize = 8;

/// How many hours can have their times below.
const HOURS: usize = 72;

/// How many colours there are for tokens, and how many for refusals; then they begin again.
const OK: usize = 11;
const NO: usize = 9;

/// A series in its colour.
struct Drawn<'a> {
    series: &'a BarSeries,
    class: String,
}

/// Draws numbers over time.
#[must_use]
pub fn stacked_bars(bars: &Bars<'_>) -> String {
    let drawn = coloured(bars.series);
    let legend = legend_places(&drawn);
    let lines = legend.last().map_or(1.0, |(_, y)| y + 1.0);
    // Whole and small.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few hundred")]
    let size = (WIDTH as u32, (LEGEND + LINE * lines) as u32);
    let mut svg = Svg::new(bars.id, &Role::Image, size, bars.title, &described(bars));
    svg.define_hatch(bars.id);
    let highest = (0..bars.times.len()).map(|place| sum(bars.series, place)).max().unwrap_or(0);
    let (unit, top) = scale(highest);
    let height = |value: u64| PLOT * real(value) / real(top);
    let mut across = 0;
    while across <= top {
        let y = TOP + PLOT - height(across);
        svg.line("picture-grid", (LEFT, y), (WIDTH - RIGHT, y));
        svg.label("picture-text picture-end", LEFT - 6.0, y + 4.0, &short(across));
        across += unit;
    }
    draw_times(&mut svg, bars);
    for (place, at) in bars.times.iter().enumerate() {
        let (x, width) = column(place, bars.times.len());
        let mut y = TOP + PLOT;
        for Drawn { series, class } in &drawn {
            let value = series.values.get(place).copied().unwrap_or(0);
            if value == 0 {
                continue;
            }
            let high = height(value).max(0.5);
            y -= high;
            let title = format!("{}: {} {}", when(bars.step, *at), series.name, grouped(value));
            svg.rect(class, (x, y), (width, high), &title);
            if series.refusals {
                svg.hatch(bars.id, (x, y), (width, high));
            }
        }
    }
    if highest == 0 {
        svg.label(
            "picture-text picture-middle",
            LEFT + (WIDTH - LEFT - RIGHT) / 2.0,
            TOP + PLOT / 2.0,
            "Nothing in this time",
        );
    }
    for (Drawn { series, class }, (x, line)) in drawn.iter().zip(legend) {
        let y = LEGEND + LINE * line;
        svg.rect(class, (x, y - 10.0), (12.0, 12.0), "");
        if series.refusals {
            svg.hatch(bars.id, (x, y - 10.0), (12.0, 12.0));
        }
        svg.label("picture-text", x + 18.0, y, &series.name);
    }
    svg.finish()
}

/// The series that have anything in them, each in a colour.
fn coloured(series: &[BarSeries]) -> Vec<Drawn<'_>> {
    let (mut tokens, mut refusals) = (0, 0);
    let drawn = series.iter().filter(|series| series.values.iter().any(|value| *value > 0));
    let mut drawn: Vec<_> = drawn
        .map(|series| {
            let (sort, count, colours) =
                if series.refusals { ("no", &mut refusals, NO) } else { ("ok", &mut tokens, OK) };
            *count += 1;
            Drawn { series, class: format!("picture-{sort}-{}", (*count - 1) % colours + 1) }
        })
        .collect();
    drawn.sort_by_key(|drawn| drawn.series.refusals);
    drawn
}

/// Where each name of the legend stands: how far from the left, and in which line.
fn legend_places(drawn: &[Drawn<'_>]) -> Vec<(f64, f64)> {
    let (mut x, mut line) = (LEFT, 0.0);
    let places = drawn.iter().map(|drawn| {
        let width = 18.0 + 7.2 * real(drawn.series.name.chars().count() as u64) + 22.0;
        if x + width > WIDTH && x > LEFT {
            (x, line) = (LEFT, line + 1.0);
        }
        let place = (x, line);
        x += width;
        place
    });
    places.collect()
}

/// The times below. Where hours are many, days are written instead.
fn draw_times(svg: &mut Svg, bars: &Bars<'_>) {
    let count = bars.times.len();
    let by_day = bars.step == BarStep::Day || count > HOURS;
    let begins_day = |at: &Timestamp| bars.step == BarStep::Day || at.start_of_day() == *at;
    let places = bars.times.iter().enumerate().filter(|(_, at)| !by_day || begins_day(at));
    let places: Vec<_> = places.collect();
    let mut last = String::new();
    for (place, at) in places.iter().step_by(places.len().div_ceil(TIMES).max(1)) {
        let (x, width) = column(*place, count);
        let x = x + width / 2.0;
        svg.line("picture-axis", (x, TOP + PLOT), (x, TOP + PLOT + 4.0));
        let (first, second): (String, String) = if by_day {
            (day(**at).chars().skip(5).collect(), day(**at).chars().take(4).collect())
        } else {
            (minute(**at), day(**at))
        };
        svg.label("picture-text picture-middle", x, TOP + PLOT + 17.0, &first);
        if second != last {
            svg.label("picture-text picture-middle picture-faint", x, TOP + PLOT + 31.0, &second);
            last = second;
        }
    }
    svg.line("picture-axis", (LEFT, TOP + PLOT), (WIDTH - RIGHT, TOP + PLOT));
}

/// Where a bar begins, and how wide it is.
fn column(place: usize, count: usize) -> (f64, f64) {
    let room = (WIDTH - LEFT - RIGHT) / real(count.max(1) as u64);
    let gap = (room * 0.2).min(6.0);
    // One bar alone would be a wall.
    let width = (room - gap).min(60.0);
    (LEFT + room * real(place as u64) + (room - width) / 2.0, width)
}

/// The distance of the lines across, and the highest of them.
fn scale(highest: u64) -> (u64, u64) {
    let mut unit = 1_u64;
    loop {
        for factor in [1, 2, 5] {
            let unit = unit.saturating_mul(factor);
            if unit.saturating_mul(LINES) >= highest {
                return (unit, unit.saturating_mul(highest.div_ceil(unit).max(1)));
            }
        }
        unit = unit.saturating_mul(10);
    }
}

fn sum(series: &[BarSeries], place: usize) -> u64 {
    series
        .iter()
        .filter_map(|series| series.values.get(place))
        .fold(0, |sum, value| sum.saturating_add(*value))
}

fn when(step: BarStep, at: Timestamp) -> String {
    match step {
        BarStep::Hour => day_and_minute(at),
        BarStep::Day => day(at),
    }
}

/// The picture in words.
fn described(bars: &Bars<'_>) -> String {
    let (Some(first), Some(last)) = (bars.times.first(), bars.times.last()) else {
        return "There is nothing to show.".to_owned();
    };
    let all = |refusals: bool| {
        let series = bars.series.iter().filter(|series| series.refusals == refusals);
        series.flat_map(|series| &series.values).fold(0_u64, |sum, value| sum.saturating_add(*value))
    };
    let step = match bars.step {
        BarStep::Hour => "hour",
        BarStep::Day => "day",
    };
    let steps = many(bars.times.len() as u64, step);
    let (tokens, refusals) = (many(all(false), "token"), many(all(true), "refusal"));
    let span = format!("{} to {}", when(bars.step, *first), when(bars.step, *last));
    let most =
        (0..bars.times.len()).max_by_key(|place| (sum(bars.series, *place), std::cmp::Reverse(*place)));
    let most = most.filter(|place| sum(bars.series, *place) > 0).map_or_else(String::new, |place| {
        let number = grouped(sum(bars.series, place));
        format!(" The most in one {step} are {number}, at {}.", when(bars.step, bars.times[place]))
    });
    format!("{steps}, {span}: {tokens} and {refusals}.{most}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(count: i64) -> Vec<Timestamp> {
        (0..count).map(|hour| Timestamp::from_seconds(hour * 3_600)).collect()
    }

    fn series(name: &str, refusals: bool, values: &[u64]) -> BarSeries {
        BarSeries { name: name.to_owned(), refusals, values: values.to_vec() }
    }

    fn draw(times: &[Timestamp], series: &[BarSeries]) -> String {
        stacked_bars(&Bars { id: "tokens", title: "Tokens", step: BarStep::Hour, times, series })
    }

    #[test]
    fn nothing_is_said_in_words() {
        let drawn = draw(&[], &[]);
        assert!(drawn.contains("There is nothing to show."), "{drawn}");
        let drawn = draw(&hours(24), &[series("issued", false, &[0; 24])]);
        assert!(
            drawn.contains(">Nothing in this time<") && drawn.contains("0 tokens and 0 refusals"),
            "{drawn}"
        );
    }

    #[test]
    fn each_number_is_a_box_and_refusals_stand_on_tokens() {
        let all = [series("invalid_client", true, &[0, 5]), series("issued", false, &[1_500, 10])];
        let drawn = draw(&hours(2), &all);
        assert_eq!(drawn.matches("<title>1970").count(), 3, "{drawn}");
        let place = |text: &str| drawn.find(text).unwrap();
        assert!(place("01:00 UTC: issued 10") < place("01:00 UTC: invalid_client 5"), "tokens come first");
        assert!(drawn.contains("1,500 tokens") || drawn.contains("1,510 tokens and 5 refusals"), "{drawn}");
        assert!(drawn.contains("The most in one hour are 1,500, at 1970-01-01 00:00 UTC."), "{drawn}");
        assert!(drawn.contains(">1.5k<") && drawn.contains("url(#tokens-hatch)"), "{drawn}");
        assert_eq!(drawn, draw(&hours(2), &all), "the same again");
    }

    #[test]
    fn many_bars_have_few_times_below_and_no_style() {
        let drawn = draw(&hours(336), &[series("issued", false, &[7; 336])]);
        let below = drawn.matches("picture-text picture-middle\"").count();
        assert!((2..=8).contains(&below), "{below}");
        assert!(!drawn.contains("style") && !drawn.contains("<script"), "for the strict policy");
    }

    #[test]
    fn names_are_escaped() {
        let drawn = draw(&hours(1), &[series("</svg><script>", true, &[1])]);
        assert!(!drawn.contains("<script>") && drawn.contains("&lt;/svg&gt;&lt;script&gt;"), "{drawn}");
    }

    #[test]
    fn the_scale_holds_every_number() {
        for highest in [0, 1, 4, 5, 6, 49, 51, 999, 20_000_000, u64::MAX / 2] {
            let (unit, top) = scale(highest);
            assert!(top >= highest && top / unit <= LINES, "{highest}: {unit}, {top}");
        }
    }
}
