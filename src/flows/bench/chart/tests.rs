// SPDX-License-Identifier: GPL-3.0-or-later
use super::*;
use crate::flows::bench::compare::{compare, tests::results};

#[test]
fn numbers_have_three_digits_that_count() {
    let shown = [0.0, 0.01234, 1.2345, 12.345, 123.45, 1234.5, 12_345_678.0].map(number);
    assert_eq!(shown, ["0", "0.012", "1.23", "12.3", "123", "1234", "12\u{a0}345\u{a0}678"]);
}

#[test]
fn every_repetition_and_every_name_is_in_the_picture() {
    let charts = of_results(&results("before", 1.0));
    assert_eq!(charts.len(), 2, "one for each workload that was run");
    let svg = charts[1].svg().unwrap();
    assert!(
        svg.starts_with("<svg") && svg.contains("huge pages") && svg.contains("Following pointers"),
        "{svg}"
    );
    assert!(svg.matches("<circle").count() >= 3 * 7 * 2);
    assert!(charts[1].words().contains("Copying, huge pages: 13.0 GB/s"), "{}", charts[1].words());
}

#[test]
fn a_comparison_says_its_verdict_in_words_and_marks() {
    let chart = of_comparison(&compare(&results("before", 1.0), &results("after", 1.2))).unwrap();
    let svg = chart.svg().unwrap();
    assert!(svg.contains("+20 %, worse") && svg.contains("no difference"), "{svg}");
    assert!(
        of_comparison(&Comparison { compared: vec![], ..compare(&results("a", 1.0), &results("b", 1.0)) })
            .is_none()
    );
}

#[test]
fn a_picture_says_all_in_the_words_it_is_told_in() {
    let shout: Tell = |text| text.to_uppercase();
    let compared = of_comparison(&compare(&results("before", 1.0), &results("after", 1.2)));
    for chart in of_results(&results("x", 1.0)).into_iter().chain(compared) {
        let chart = chart.told(shout);
        let svg = chart.svg().unwrap();
        let said: Vec<&str> = svg.lines().filter(|l| !l.starts_with('<')).collect();
        assert!(said.join(" ").contains("BETTER"), "{svg}");
        // Only units stay as they are ("GB/s").
        let words = said.iter().flat_map(|l| l.split([' ', ',', '(', ')', '&', ';'])).filter(|w| w.len() > 2);
        let quiet: Vec<&str> =
            words.filter(|w| !w.contains('/') && w.chars().any(char::is_lowercase)).collect();
        assert!(quiet.iter().all(|w| *w == "apos"), "{quiet:?}");
        assert!(chart.words().starts_with(&chart.title().to_uppercase()), "{}", chart.words());
    }
}

#[test]
fn a_png_has_the_size_that_it_says_and_is_not_blank() {
    let png = of_results(&results("x", 1.0))[0].png().unwrap();
    let mut reader = png::Decoder::new(std::io::Cursor::new(&png)).read_info().unwrap();
    let mut points = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut points).unwrap();
    assert_eq!(info.width, 2 * WIDTH as u32);
    let colours: std::collections::BTreeSet<&[u8]> = points.chunks(3).collect();
    assert!(colours.len() > 10, "letters, bars and dots");
}

#[test]
fn a_narrow_picture_is_as_narrow_as_wished_and_a_dark_one_is_dark() {
    let chart = of_comparison(&compare(&results("before", 1.0), &results("after", 1.2))).unwrap();
    for chart in of_results(&results("x", 1.0)).into_iter().chain([chart]) {
        let style = Style { width: 320, dark: true, titled: false };
        let points = chart.points(style, 2).unwrap();
        assert_eq!((points.width, points.height), (640, chart.height(style) as u32 * 2));
        assert_eq!(points.bytes.len(), 640 * points.height as usize * 3);
        let dark = points.bytes.chunks(3).filter(|p| p.iter().all(|c| *c < 100)).count();
        assert!(dark * 3 > points.bytes.len() / 3 * 2, "mostly dark");
        assert!(chart.height(style) > chart.height(Style { width: 920, ..style }), "names stand above");
    }
    assert_eq!(wrapped("a line that is too long", 12, 90), ["a line that", "is too long"]);
}

#[test]
fn a_name_from_elsewhere_cannot_break_out_of_the_picture() {
    let mut hostile = results("x", 1.0);
    hostile.name = "<script>alert(1)</script>".into();
    assert!(!of_results(&hostile)[0].svg().unwrap().contains("<script"));
}
