"use strict";
(function () {
  const found = JSON.parse(document.getElementById("chart-data").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const still = window.matchMedia("(prefers-reduced-motion: reduce)");
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function traces(chart) {
    let next = 0;
    return chart.marks.flatMap((mark) => {
      const tones = dark.matches ? found.colours.dark : found.colours.light;
      const colour = mark.role === "series" ? found.series[(mark.tone === null ? next++ : mark.tone) % found.series.length] : tones[mark.role];
      const shape = mark.step ? "hv" : "linear";
      if (mark.kind === "band") {
        const edge = {
          type: "scatter", mode: "lines", x: mark.x, legendgroup: mark.name, showlegend: false,
          hoverinfo: "skip", line: { width: 0, shape: shape, color: colour },
        };
        return [{ ...edge, y: mark.low }, { ...edge, y: mark.high, fill: "tonexty", fillcolor: colour + "2b" }];
      }
      const trace = {
        type: "scatter", name: mark.name, x: mark.x, y: mark.y, showlegend: mark.listed,
        mode: mark.kind === "line" ? "lines" : "markers", connectgaps: false, legendgroup: mark.step ? mark.name : "",
        line: { color: colour, width: mark.role === "recommended" || mark.role === "start" ? 3 : mark.thin ? 0.6 : 1.6, dash: mark.dashed ? "dash" : "solid", shape: shape },
        marker: { color: colour, size: mark.role === "recommended" ? 14 : mark.role === "start" ? 11 : mark.role === "training" ? 5 : mark.role === "series" ? 7 : 8, symbol: found.symbols[mark.role] || found.series_symbols[(mark.tone || 0) % found.series_symbols.length] },
      };
      if (mark.text.length) {
        trace.text = mark.text;
        trace.hovertemplate = "%{text}<br>%{y}<extra>" + mark.name.replace(/[<>]/g, "") + "</extra>";
      }
      if (mark.low.length) {
        trace.error_y = {
          type: "data", symmetric: false, thickness: 1, width: 3, color: colour,
          array: mark.high.map((v, i) => v - mark.y[i]), arrayminus: mark.low.map((v, i) => mark.y[i] - v),
        };
        trace.hovertemplate = "%{text}<br>AUC %{y:.3f}<extra></extra>";
      }
      return trace;
    });
  }

  // 1, 2 and 5 of each power of ten that the values span, or fewer where that is too many.
  function decades(values, most) {
    const low = Math.min(...values) / 1.05, high = Math.max(...values) * 1.05;
    for (const steps of [[1, 2, 5], [1, 3], [1]]) {
      const ticks = [];
      for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
        for (const step of steps) {
          const value = step * Math.pow(10, power);
          if (value >= low && value <= high) { ticks.push(value); }
        }
      }
      if (ticks.length <= most || steps.length === 1) { return ticks; }
    }
    return [];
  }

  function short(value) {
    for (const [unit, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]]) {
      if (value >= 0.9995 * size) { return Number((value / size).toPrecision(3)) + " " + unit; }
    }
    return String(Number(value.toPrecision(3)));
  }

  function axis(scale, narrow, values) {
    const text = style("--text"), line = style("--line");
    const one = {
      title: { text: scale.title, standoff: 8 }, automargin: true, color: text, gridcolor: line,
      zerolinecolor: line, linecolor: line, fixedrange: narrow,
    };
    if (scale.kind === "log") {
      one.type = "log"; one.tickmode = "array";
      one.tickvals = decades(values, narrow ? 5 : 9); one.ticktext = one.tickvals.map(short);
    }
    if (scale.kind === "count") { one.tickformat = "d"; if (Math.max(...values) < 10) { one.dtick = 1; } }
    if (scale.kind === "names") {
      one.type = "category"; one.categoryorder = "array"; one.categoryarray = scale.names;
      one.tickfont = { size: narrow ? 9 : 11 };
    }
    if (scale.limits) { one.range = scale.limits; }
    return one;
  }

  function layout(chart, width) {
    const narrow = width < 560;
    const all = (name) => chart.marks.flatMap((mark) => (name === "y" ? [...mark.y, ...mark.low, ...mark.high] : mark[name])).filter((v) => typeof v === "number" && v > 0);
    const x = axis(chart.x, narrow, all("x"));
    if (chart.x.kind === "names") { x.tickangle = narrow ? -90 : -35; }
    return {
      width: width, height: chart.height + (narrow ? 60 : 0), autosize: false, dragmode: narrow ? false : "zoom",
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: style("--text"), family: "system-ui, sans-serif", size: narrow ? 11 : 13 },
      margin: { l: 12, r: 12, t: 8, b: 8 }, xaxis: x, yaxis: axis(chart.y, narrow, all("y")),
      legend: { orientation: "h", traceorder: "normal", yref: "container", yanchor: "bottom", y: 0, x: 0, font: { size: narrow ? 10 : 12 } },
      hoverlabel: { bgcolor: style("--surface"), font: { color: style("--text") }, bordercolor: style("--line") },
      transition: { duration: still.matches ? 0 : 150 },
    };
  }

  function draw() {
    for (const chart of found.charts) {
      const place = document.getElementById("chart-" + chart.name);
      if (!place) { continue; }
      const width = Math.floor(place.clientWidth);
      if (width < 50) { continue; }
      Plotly.react(place, traces(chart), layout(chart, width), { displaylogo: false, displayModeBar: false, staticPlot: false });
      // One stop for the keyboard is the figure's caption; the drawing itself is described there.
      place.querySelectorAll("svg").forEach((svg) => svg.setAttribute("aria-hidden", "true"));
    }
    document.documentElement.dataset.drawn = "yes";
  }

  let waiting = null;
  window.addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(draw, 120); });
  dark.addEventListener("change", draw);
  window.addEventListener("beforeprint", draw);
  draw();
})();
