//! What probability says about a fixed dead time under independent loss; docs/sweep.md derives it.
//!
//! Heartbeats leave every `keepalive`, each is lost with probability `p` alone, those that arrive need `delay`. A node is
//! dead when nothing was heard for `deadtime`. All times are in seconds.

/// A failure detector with a fixed dead time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FixedDeadtime {
    /// Time between heartbeats.
    pub keepalive: f64,
    /// Silence after which a node is dead.
    pub deadtime: f64,
    /// The probability that a heartbeat does not arrive.
    pub loss: f64,
    /// How long one is under way that does.
    pub delay: f64,
}

impl FixedDeadtime {
    /// How many heartbeats in a row must be lost for a mistake. A heartbeat that arrives at the very moment of death is
    /// read first, so that a dead time of exactly `n` keepalives is survived by the `n`th.
    fn run(&self) -> u32 {
        // The small summand undoes what rounding took from an exact multiple.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is never negative")]
        let run = (self.deadtime / self.keepalive + 1e-9).floor() as u32;
        run
    }

    /// The rate of mistakes of one observer of one node, per second: a run of losses long enough, after a heartbeat that
    /// arrived.
    pub fn mistake_rate(&self) -> f64 {
        (1.0 - self.loss) * power(self.loss, self.run()) / self.keepalive
    }

    /// How long a mistake lasts on average: until the first heartbeat that arrives again.
    pub fn mistake_duration(&self) -> f64 {
        let first = f64::from(self.run() + 1) * self.keepalive - self.deadtime;
        first + self.keepalive * self.loss / (1.0 - self.loss)
    }

    /// The standard deviation of one mistake's duration.
    pub fn mistake_duration_deviation(&self) -> f64 {
        self.keepalive * self.loss.sqrt() / (1.0 - self.loss)
    }

    /// By about which part mistakes are fewer and shorter than predicted: a node that makes one talks to the other, which
    /// then asks for the heartbeats it has just lost. That happens to whoever was in the same dead time about to make one.
    pub fn talk(&self) -> f64 {
        self.mistake_rate() * self.deadtime
    }

    /// The share of time in which the observer is right about a node that is up.
    pub fn accuracy(&self) -> f64 {
        1.0 - self.mistake_rate() * self.mistake_duration()
    }

    /// The probability that a crash is detected within `time`.
    pub fn detected_within(&self, time: f64) -> f64 {
        if time < 0.0 {
            return 0.0;
        }
        self.age_at_least((self.deadtime + self.delay - time) / self.keepalive)
    }

    /// The probability that the newest heartbeat that arrives left at least `age` keepalives before the crash.
    fn age_at_least(&self, age: f64) -> f64 {
        if age <= 0.0 {
            return 1.0;
        }
        let whole = age.floor();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is positive here")]
        let lost = power(self.loss, whole as u32);
        lost * (1.0 - (1.0 - self.loss) * (age - whole))
    }

    /// The mean time from a crash to its detection; a node that is taken for dead already is detected at once.
    pub fn mean_detection(&self) -> f64 {
        // The mean of what is never negative: the integral of the probability to exceed a time.
        let limit = (self.deadtime + self.delay) / self.keepalive;
        let whole = limit.floor();
        let mut sum = limit;
        let mut lost = 1.0;
        let mut at = 0.0;
        while at < whole {
            sum -= lost * (1.0 + self.loss) / 2.0;
            lost *= self.loss;
            at += 1.0;
        }
        let rest = limit - whole;
        sum -= lost * (rest - (1.0 - self.loss) * rest * rest / 2.0);
        sum * self.keepalive
    }
}

/// By multiplication, so that it is the same on every machine.
fn power(base: f64, exponent: u32) -> f64 {
    // Beyond this the result is zero for every probability below one that a plan can write.
    (0..exponent.min(1_000_000)).fold(1.0, |product, _| product * base)
}

/// How far a measured distribution of `runs` independent runs strays from the true one at most, with probability
/// `confidence`, at any point (Dvoretzky, Kiefer, Wolfowitz; Massart's constant).
pub fn band(runs: usize, confidence: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "nobody makes 2^52 runs")]
    let runs = runs.max(1) as f64;
    ((2.0 / (1.0 - confidence)).ln() / (2.0 * runs)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DETECTOR: FixedDeadtime = FixedDeadtime { keepalive: 1.0, deadtime: 2.5, loss: 0.2, delay: 0.0 };

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-6
    }

    #[test]
    fn a_mistake_needs_a_run_of_losses() {
        assert!(close(DETECTOR.mistake_rate(), 0.8 * 0.04));
        assert!(close(DETECTOR.mistake_duration(), 0.5 + 0.25));
        assert!(close(FixedDeadtime { loss: 0.0, ..DETECTOR }.mistake_rate(), 0.0));
    }

    #[test]
    fn without_loss_a_crash_is_detected_within_one_keepalive_before_the_dead_time() {
        let sure = FixedDeadtime { loss: 0.0, ..DETECTOR };
        for (time, probability) in [(1.5, 0.0), (1.75, 0.25), (2.0, 0.5), (2.5, 1.0), (9.0, 1.0)] {
            assert!(close(sure.detected_within(time), probability), "{time}");
        }
        assert!(close(sure.mean_detection(), 2.0));
    }

    #[test]
    fn lost_heartbeats_shorten_the_detection_by_whole_keepalives() {
        // The last heartbeat is lost with 0.2: then the crash is detected one keepalive earlier.
        assert!(close(DETECTOR.detected_within(1.5), 0.2));
        assert!(close(DETECTOR.detected_within(0.5), 0.04));
        // What has been dead at the crash: 0.5 keepalives after two losses on average.
        assert!(close(DETECTOR.detected_within(0.0), 0.04 * (1.0 - 0.8 * 0.5)));
    }

    #[test]
    fn the_mean_is_the_integral_of_the_distribution() {
        for (deadtime, loss) in [(2.5, 0.0), (2.5, 0.3), (3.0, 0.5), (7.2, 0.1)] {
            let detector = FixedDeadtime { deadtime, loss, ..DETECTOR };
            let steps = 100_000;
            let width = deadtime / f64::from(steps);
            let late = |step| 1.0 - detector.detected_within((f64::from(step) + 0.5) * width);
            let integral: f64 = (0..steps).map(late).sum::<f64>() * width;
            assert!((integral - detector.mean_detection()).abs() < 1e-4, "{deadtime} {loss}");
        }
    }

    #[test]
    fn accuracy_is_the_share_of_time_without_mistake() {
        // A chain of heartbeats: after the nth loss in a row the observer is wrong for the rest of that keepalive.
        let (p, k) = (0.2_f64, 2);
        let wrong = power(p, k) * (1.0 - p) * (0.5 + p / (1.0 - p));
        assert!(close(DETECTOR.accuracy(), 1.0 - wrong));
    }

    #[test]
    fn the_band_narrows_with_the_root_of_the_runs() {
        assert!((band(2000, 0.999) - 0.0436).abs() < 1e-4);
        assert!(close(band(100, 0.95) / band(400, 0.95), 2.0));
    }
}
