//! Instants as milliseconds since 1970 (UTC), and their text forms. No clock is read here.

/// Parses `2013-01-01T10:00:00Z`, with optional fraction, a `Z` or `±HH:MM` offset, and `T`, `t` or a blank between date and
/// time. Returns `None` for anything else; a leap second counts as the second that follows it.
pub(crate) fn parse_rfc3339_ms(text: &str) -> Option<i64> {
    let (local, rest) = parse_date_time(text)?;
    let offset_minutes = match rest {
        "Z" | "z" => 0,
        _ => parse_offset(rest)?,
    };
    local.checked_sub(i64::from(offset_minutes) * 60_000)
}

/// Parses the same without any offset, and takes it as UTC.
pub(crate) fn parse_date_time_utc_ms(text: &str) -> Option<i64> {
    match parse_date_time(text)? {
        (ms, "") => Some(ms),
        _ => None,
    }
}

/// Formats as `2013-01-01T10:00:00Z`, with milliseconds only if there are any.
pub(crate) fn format_rfc3339_ms(ms: i64) -> String {
    let (days, in_day) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    let (year, month, day) = civil_of_days(days);
    let (hour, minute, second, milli) =
        (in_day / 3_600_000, in_day / 60_000 % 60, in_day / 1000 % 60, in_day % 1000);
    if milli == 0 {
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    } else {
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

fn parse_date_time(text: &str) -> Option<(i64, &str)> {
    let bytes = text.as_bytes();
    if bytes.len() < 16 || bytes[4] != b'-' || bytes[7] != b'-' || !matches!(bytes[10], b'T' | b't' | b' ') {
        return None;
    }
    let (year, month, day) = (number(bytes, 0, 4)?, number(bytes, 5, 2)?, number(bytes, 8, 2)?);
    if bytes[13] != b':' || !(1..=12).contains(&month) || day < 1 || day > days_in_month(year, month) {
        return None;
    }
    let (hour, minute) = (number(bytes, 11, 2)?, number(bytes, 14, 2)?);
    let mut end = 16;
    let (mut second, mut milli) = (0, 0);
    if bytes.get(end) == Some(&b':') {
        second = number(bytes, end + 1, 2)?;
        end += 3;
        if bytes.get(end) == Some(&b'.') {
            let digits = bytes[end + 1..].iter().take_while(|b| b.is_ascii_digit()).count();
            if digits == 0 || digits > 9 {
                return None;
            }
            for index in 0..3 {
                milli =
                    milli * 10 + if index < digits { i64::from(bytes[end + 1 + index] - b'0') } else { 0 };
            }
            end += 1 + digits;
        }
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let days = days_of_civil(year, month, day);
    let ms = days * 86_400_000 + hour * 3_600_000 + minute * 60_000 + second * 1000 + milli;
    Some((ms, text.get(end..)?))
}

fn parse_offset(text: &str) -> Option<i32> {
    let bytes = text.as_bytes();
    if bytes.len() != 6 || bytes[3] != b':' {
        return None;
    }
    let minutes = number(bytes, 1, 2)? * 60 + number(bytes, 4, 2)?;
    let minutes = i32::try_from(minutes).ok().filter(|m| *m < 24 * 60)?;
    match bytes[0] {
        b'+' => Some(minutes),
        b'-' => Some(-minutes),
        _ => None,
    }
}

fn number(bytes: &[u8], at: usize, digits: usize) -> Option<i64> {
    let slice = bytes.get(at..at + digits)?;
    slice.iter().try_fold(0i64, |sum, b| b.is_ascii_digit().then(|| sum * 10 + i64::from(b - b'0')))
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => 31,
    }
}

// Days since 1970 of a date in the proleptic Gregorian calendar. Years are counted from March, so that the leap day is a
// year's last; an era is 400 years, 146,097 days.
fn days_of_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, in_era) = (year.div_euclid(400), year.rem_euclid(400));
    let from_march = (month + 9) % 12;
    let day_of_year = (153 * from_march + 2) / 5 + day - 1;
    era * 146_097 + in_era * 365 + in_era / 4 - in_era / 100 + day_of_year - 719_468
}

fn civil_of_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_the_usual_forms() {
        for (text, ms) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2013-01-01T10:00:00Z", 1_357_034_400_000),
            ("2013-01-01 05:00:00-05:00", 1_357_034_400_000),
            ("2000-02-29T23:59:59.5Z", 951_868_799_500),
            ("1969-12-31T23:59:59.999Z", -1),
            ("2013-01-01T10:00Z", 1_357_034_400_000),
        ] {
            assert_eq!(parse_rfc3339_ms(text), Some(ms), "{text}");
        }
        for text in [
            "",
            "2013-01-01",
            "2013-02-29T00:00:00Z",
            "2013-13-01T00:00:00Z",
            "2013-01-01T24:00:00Z",
            "2013-01-01T10:00:00",
            "2013-01-01T10:00:00+5:00",
            "2013-01-01T10:00:00Zx",
            "2013-01-01T10:00:00.Z",
        ] {
            assert_eq!(parse_rfc3339_ms(text), None, "{text}");
        }
        assert_eq!(parse_date_time_utc_ms("2013-01-01 10:00:00"), Some(1_357_034_400_000));
        assert_eq!(parse_date_time_utc_ms("2013-01-01 10:00:00Z"), None);
    }

    proptest! {
        #[test]
        fn formatting_round_trips(ms in -62_135_596_800_000i64..253_402_300_799_999) {
            prop_assert_eq!(parse_rfc3339_ms(&format_rfc3339_ms(ms)), Some(ms));
        }

        #[test]
        fn parsing_never_panics(text in "\\PC{0,40}") {
            let _ = parse_rfc3339_ms(&text);
            let _ = parse_date_time_utc_ms(&text);
        }
    }
}
