"use strict";
(() => {
  const specs = JSON.parse(document.getElementById("figures").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const narrow = matchMedia("(max-width: 500px)");
  const style = getComputedStyle(document.documentElement);

  // what begins with "var:" is the colour that the style sheet gives the name after it, in light or in dark
  const themed = (value) => {
    if (typeof value === "string") {
      return value.startsWith("var:") ? style.getPropertyValue(value.slice(4)).trim() : value;
    }
    if (Array.isArray(value)) return value.map(themed);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, part]) => [key, themed(part)]));
  };

  const axis = (own) => ({
    gridcolor: "var:--grid", linecolor: "var:--grid", zeroline: false, automargin: true, fixedrange: narrow.matches,
    ...own, title: { standoff: 8, ...(own || {}).title },
  });

  const layout = (own) => themed({
    height: 300,
    margin: { l: 48, r: 12, t: narrow.matches ? 8 : 30, b: 40 },
    modebar: { bgcolor: "rgba(0,0,0,0)", color: "var:--grid", activecolor: "var:--dim" },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, sans-serif", size: 12, color: "var:--ink" },
    hoverlabel: { bgcolor: "var:--card", bordercolor: "var:--grid", font: { color: "var:--ink" }, namelength: -1 },
    showlegend: false,
    hovermode: "closest",
    ...own,
    xaxis: axis(own.xaxis),
    yaxis: axis(own.yaxis),
  });

  const config = {
    responsive: true,
    displaylogo: false,
    displayModeBar: narrow.matches ? false : "hover",
    modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
  };

  const draw = () => Promise.all(
    [...document.querySelectorAll("[data-figure]")].map((element) => {
      const spec = specs[element.dataset.figure];
      return Plotly.react(element, themed(spec.data), layout(spec.layout), config);
    }),
  );

  dark.addEventListener("change", draw);
  narrow.addEventListener("change", draw);
  draw().then(() => { document.documentElement.dataset.drawn = specs.length; });
})();
