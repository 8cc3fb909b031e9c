//! The ratios as a drawing: one pair of bars a row, the peer's own cost as a line, the target as a mark.

use std::fmt::Write as _;

/// A row of the drawing.
pub struct Bars<'a> {
    pub title: &'a str,
    pub instructions: Option<f64>,
    pub time: f64,
    pub target: f64,
}

const LABELS: f64 = 470.0;
const WIDTH: f64 = 900.0;
const TOP: f64 = 56.0;
const ROW: f64 = 38.0;
const BAR: f64 = 11.0;
/// What a ratio of 1 is drawn as; longer bars are cut off at the edge and say their number.
const UNIT: f64 = 130.0;
const LONGEST: f64 = 2.75;

/// An SVG of the rows; it follows the reader's light or dark scheme.
pub fn draw(rows: &[Bars<'_>]) -> String {
    let height = TOP + ROW * rows.len() as f64 + 16.0;
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="title">
<title id="title">What scopegate adds to a request, as a multiple of what Envoy's own filters add</title>
<style>
text {{ font: 13px system-ui, sans-serif; fill: #24292f; }}
.small {{ font-size: 11px; }}
.instructions {{ fill: #0969da; }}
.time {{ fill: #8ac0ff; }}
.peer {{ stroke: #6e7781; stroke-dasharray: 3 3; }}
.target {{ stroke: #cf222e; stroke-width: 2; }}
@media (prefers-color-scheme: dark) {{
text {{ fill: #e6edf3; }}
.time {{ fill: #1f4f87; }}
.instructions {{ fill: #58a6ff; }}
.peer {{ stroke: #9198a1; }}
.target {{ stroke: #ff7b72; }}
}}
</style>
<rect class="instructions" x="{LABELS}" y="10" width="{BAR}" height="{BAR}"/>
<text class="small" x="{}" y="20">instructions</text>
<rect class="time" x="{}" y="10" width="{BAR}" height="{BAR}"/>
<text class="small" x="{}" y="20">time</text>
<line class="target" x1="{}" x2="{}" y1="8" y2="23"/>
<text class="small" x="{}" y="20">target: at most</text>
<text class="small" x="{}" y="{}" text-anchor="middle">1 = the peer</text>
"#,
        LABELS + 16.0,
        LABELS + 96.0,
        LABELS + 112.0,
        LABELS + 160.0,
        LABELS + 160.0,
        LABELS + 168.0,
        LABELS + UNIT,
        TOP - 10.0,
    );
    for (index, row) in rows.iter().enumerate() {
        let top = TOP + ROW * index as f64;
        // Writing to a string does not fail.
        let _ = writeln!(
            svg,
            r#"<text x="{}" y="{}" text-anchor="end">{}</text>"#,
            LABELS - 10.0,
            top + BAR + 5.0,
            escaped(row.title)
        );
        bar(&mut svg, "instructions", row.instructions, top);
        bar(&mut svg, "time", Some(row.time), top + BAR + 1.0);
        let (at, bottom) = (LABELS + row.target.min(LONGEST) * UNIT, top + 2.0 * BAR + 4.0);
        let _ = if row.target <= LONGEST {
            writeln!(svg, r#"<line class="target" x1="{at}" x2="{at}" y1="{}" y2="{bottom}"/>"#, top - 3.0)
        } else {
            let middle = top + BAR + 4.0;
            writeln!(svg, r#"<text class="small" x="{}" y="{middle}">≤ {}</text>"#, at + 36.0, row.target)
        };
    }
    let at = LABELS + UNIT;
    let _ = writeln!(
        svg,
        r#"<line class="peer" x1="{at}" x2="{at}" y1="{}" y2="{}"/>
</svg>"#,
        TOP - 6.0,
        height - 12.0
    );
    svg
}

fn bar(svg: &mut String, class: &str, ratio: Option<f64>, top: f64) {
    let Some(ratio) = ratio else { return };
    let width = ratio.clamp(0.0, LONGEST) * UNIT;
    let _ = writeln!(
        svg,
        r#"<rect class="{class}" x="{LABELS}" y="{top}" width="{width:.1}" height="{BAR}"/><text class="small" x="{:.1}" y="{}">{ratio:.2}</text>"#,
        LABELS + width + 5.0,
        top + BAR - 1.5
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
