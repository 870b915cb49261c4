// SPDX-License-Identifier: GPL-3.0-or-later
//! What a change of page costs the main loop: from the action to the end of the first frame that shows the page.

use crate::aim;
use crate::loops::computed;
use adw::prelude::*;
use gtk::glib;
use hostwright::ui::parts;
use std::cell::Cell;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

/// How often the way is gone; the first time pages are made, which is part of the figure.
const ROUNDS: usize = 5;

/// A frame of a screen with 60 of them in a second, in milliseconds.
const MOST: f64 = 16.0;

const WAY: &[&str] = &[
    "win.vmware",
    "win.next",
    "win.next",
    "win.next",
    "win.next",
    "win.next",
    "win.back",
    "win.home",
    "win.history",
    "win.home",
    "win.profiles",
    "win.home",
];

/// Main-thread time until a page is laid out, and until it is painted too, in milliseconds.
async fn change(window: &gtk::Window, action: &str) -> (f64, f64) {
    let clock = gtk::prelude::NativeExt::surface(window).unwrap().frame_clock();
    let (to, from) = async_channel::bounded::<()>(1);
    let (laid, painted) = (Rc::new(Cell::new(None)), Rc::new(Cell::new(None)));
    let layout = clock.connect_layout(glib::clone!(
        #[strong]
        laid,
        move |_| laid.set(laid.get().or(Some(computed())))
    ));
    let paint = clock.connect_after_paint(glib::clone!(
        #[strong]
        painted,
        move |_| {
            painted.set(painted.get().or(Some(computed())));
            let _ = to.try_send(());
        }
    ));
    let before = computed();
    gtk::prelude::WidgetExt::activate_action(window, action, None)
        .unwrap_or_else(|e| panic!("{action}: {e}"));
    let _ = from.recv().await;
    clock.disconnect(layout);
    clock.disconnect(paint);
    let ms = |at: &Cell<Option<Duration>>| (at.get().unwrap() - before).as_secs_f64() * 1000.0;
    (ms(&laid), ms(&painted))
}

pub(crate) fn measure() -> ExitCode {
    parts::register();
    let app = parts::application();
    let good = Rc::new(Cell::new(true));
    app.connect_window_added(glib::clone!(
        #[strong]
        good,
        move |app, window| {
            let (app, window, good) = (app.clone(), window.clone(), good.clone());
            glib::spawn_future_local(async move {
                // Until the machine was looked at.
                glib::timeout_future(Duration::from_secs(3)).await;
                let mut worst = vec![(0.0_f64, 0.0_f64, 0.0_f64); WAY.len()];
                for round in 0..ROUNDS {
                    for (n, action) in WAY.iter().enumerate() {
                        let (laid, painted) = change(&window, action).await;
                        if round == 0 {
                            worst[n].2 = painted;
                        } else {
                            worst[n].0 = worst[n].0.max(laid);
                            worst[n].1 = worst[n].1.max(painted);
                        }
                        // What is looked up for the page comes.
                        glib::timeout_future(Duration::from_millis(400)).await;
                    }
                }
                println!("main-loop time of a change of page, in ms:   laid out   painted   the first time");
                for (n, action) in WAY.iter().enumerate() {
                    let (laid, painted, first) = worst[n];
                    println!(
                        "{:<44} {laid:>8.1} {painted:>9.1} {first:>16.1}",
                        format!("{:>2} {action}", n + 1)
                    );
                }
                let most = |of: fn(&(f64, f64, f64)) -> f64| worst.iter().map(of).fold(0.0, f64::max);
                let mut all = aim("change of page, painted in software too", most(|w| w.1), MOST, "ms");
                all &= aim("change of page, the first time", most(|w| w.2), MOST, "ms");
                good.set(all);
                app.quit();
            });
        }
    ));
    app.run_with_args::<&str>(&["bench"]);
    ExitCode::from(u8::from(!good.get()))
}
