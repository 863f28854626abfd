//! The files of the page. They need nothing from elsewhere, and no step to build them.

/// A file by its path: its type and its content.
pub(super) fn asset(path: &str) -> Option<(&'static str, &'static str)> {
    Some(match path {
        "/" => ("text/html; charset=utf-8", include_str!("page.html")),
        // `base.css` stands here; the page of the local Kinesis has it by a link, which is a file of its own in its package.
        "/page.css" => {
            ("text/css; charset=utf-8", concat!(include_str!("base.css"), include_str!("page.css")))
        }
        "/page.js" => ("text/javascript; charset=utf-8", include_str!("page.js")),
        _ => return None,
    })
}
