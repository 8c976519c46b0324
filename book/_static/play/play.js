// Five things to play with: a dial in gl(2), a number added to all logits, epochs of training, the
// choices of an analysis, a docked ligand.
// Each replaces the still in its figure; without a script, and on paper, the still stays.
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const data = window.symscopePlay ?? {};

  // --- Small tools ---

  const make = (node, attributes, children) => {
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };
  const html = (tag, attributes = {}, ...children) =>
    make(document.createElement(tag), attributes, children);
  const svg = (tag, attributes = {}, ...children) =>
    make(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
  const numbers = (base64) => Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const shown = (value) => (value < 0.01 || value >= 1e4 ? value.toExponential(1) : value.toPrecision(3));

  // A picture of 28 x 28 bytes as an image.
  const picture = (base64) => {
    const canvas = html("canvas", { width: 28, height: 28 });
    const context = canvas.getContext("2d");
    const pixels = context.createImageData(28, 28);
    numbers(base64).forEach((grey, k) => pixels.data.set([grey, grey, grey, 255], 4 * k));
    context.putImageData(pixels, 0, 0);
    return canvas.toDataURL();
  };

  // A named range with what it says beside it: pointer, touch and arrow keys.
  const slider = (name, range, says, changed) => {
    const input = html("input", { type: "range", "aria-label": name, ...range });
    const output = html("output");
    const update = () => {
      output.textContent = says(Number(input.value));
      input.setAttribute("aria-valuetext", output.textContent);
      changed();
    };
    input.addEventListener("input", update);
    return { input, update, box: html("label", {}, html("span", {}, name), input, output) };
  };

  // Buttons of which one is pressed.
  const choice = (name, options, changed) => {
    const group = html("div", { role: "group", "aria-label": name, class: "play-choice" });
    const state = { at: 0, box: group };
    options.forEach((option, k) => {
      const button = html("button", { type: "button", "aria-pressed": String(k === 0) }, option);
      button.addEventListener("click", () => {
        state.at = k;
        for (const other of group.children)
          other.setAttribute("aria-pressed", String(other === button));
        changed();
      });
      group.append(button);
    });
    return state;
  };

  // Ten bars, one per digit; the tallest is the answer.
  const bars = (name) => {
    const rows = Array.from({ length: 10 }, (_, k) => {
      const bar = svg("rect", { x: 18, y: 4 + 17 * k, height: 11, width: 0 });
      return [bar, svg("g", {}, svg("text", { x: 4, y: 13 + 17 * k }, String(k)), bar)];
    });
    const view = svg(
      "svg",
      { viewBox: "0 0 220 176", class: "play-bars", role: "img", "aria-label": name },
      ...rows.map(([, group]) => group),
    );
    const draw = (values) => {
      const best = values.indexOf(Math.max(...values));
      rows.forEach(([bar], k) => {
        bar.setAttribute("width", (196 * values[k]).toFixed(1));
        bar.classList.toggle("best", k === best);
      });
      return best;
    };
    return { view, draw };
  };

  const mount = (name, ...parts) => {
    const figure = document.getElementById(`play-${name}`);
    figure.querySelector("img").after(html("div", { class: "play-live" }, ...parts));
    figure.classList.add("is-live");
  };

  // --- (a) A dial in gl(2) ---

  const exponential = ([a, b, c, d], t) => {
    // Of a 2 x 2 matrix: half its trace apart, the rest squares to a multiple of the identity.
    const mean = (a + d) / 2;
    const rest = [a - mean, b, c, d - mean];
    const square = (rest[0] * rest[0] + rest[1] * rest[2]) * t * t;
    const root = Math.sqrt(Math.abs(square));
    const even = square < 0 ? Math.cos(root) : Math.cosh(root);
    const odd = root < 1e-9 ? t : (t * (square < 0 ? Math.sin(root) : Math.sinh(root))) / root;
    return rest.map((entry, k) => Math.exp(mean * t) * ((k % 3 ? 0 : even) + odd * entry));
  };

  if (document.getElementById("play-dial") && data.dial) {
    const { digits, images, partners, matrices, amounts, speed, circles } = data.dial;
    const steps = circles[0].rho.length; // of half a turn
    const tables = circles.map((circle) => numbers(circle.probabilities));
    const pictures = images.map(picture);
    const stage = html("img", { alt: "The digit, moved", width: 168, height: 168 });
    const chart = bars("Probabilities of the ten digits");
    const curve = svg("path", { class: "curve" });
    const hand = svg("line", { x1: 0, y1: 0, class: "hand" });
    const knob = svg("circle", { r: 7, class: "knob" });
    const face = svg(
      "svg",
      { viewBox: "-115 -115 230 230", class: "play-face" },
      svg("circle", { r: 84, class: "rim" }),
      svg("circle", { r: 8.4, class: "tolerance" }),
      svg("text", { x: 0, y: -97, "text-anchor": "middle" }, "turn"),
      svg("text", { x: 0, y: 108, "text-anchor": "middle" }, "turn back"),
      curve,
      hand,
      knob,
    );
    const status = html("p", { class: "play-status", role: "status" });
    const draw = () => {
      const step = Number(direction.input.value);
      const half = step % steps;
      const sign = step < steps ? 1 : -1; // the other half of the circle is the way back
      const pixels = Number(amount.input.value);
      const circle = circles[partner.at];
      const place = amounts.indexOf(sign * pixels);
      const start = (half * digits.length + digit.at) * amounts.length + place;
      const values = [...tables[partner.at].subarray(10 * start, 10 * start + 10)];
      const best = chart.draw(values.map((value) => value / 255));
      const angle = (Math.PI * step) / steps;
      const turn = [0, -1, 1, 0].map((entry) => entry / Math.SQRT2);
      const h = matrices[partner.at].map(
        (entry, k) => Math.cos(angle) * turn[k] + Math.sin(angle) * entry,
      );
      const [a, b, c, d] = exponential(h, pixels / speed);
      stage.src = pictures[digit.at];
      stage.style.transform = `matrix(${a}, ${-c}, ${-b}, ${d}, 0, 0)`; // screens count y downwards
      const rho = circle.rho[half];
      const [x, y] = [Math.sin(angle), -Math.cos(angle)];
      hand.setAttribute("x2", 84 * x);
      hand.setAttribute("y2", 84 * y);
      knob.setAttribute("cx", 84 * rho * x);
      knob.setAttribute("cy", 84 * rho * y);
      const points = Array.from({ length: 2 * steps }, (_, k) => {
        const at = (Math.PI * k) / steps;
        const length = 84 * circle.rho[k % steps];
        return `${(length * Math.sin(at)).toFixed(1)} ${(-length * Math.cos(at)).toFixed(1)}`;
      });
      curve.setAttribute("d", `M${points.join("L")}Z`);
      status.textContent =
        `Along this direction the outputs change ${rho.toFixed(2)} times as much as along an ` +
        `unrelated one. Moved by ${pixels} pixels, this ${digits[digit.at]} reads ${best}.`;
    };
    const digit = choice("Digit", digits.map(String), draw);
    const partner = choice(
      "Mixed with",
      partners.map((name) => `turn and ${name}`),
      draw,
    );
    const direction = slider(
      "direction",
      { min: 0, max: 2 * steps - 1, step: 1, value: 0 },
      (step) => `${(180 / steps) * step}°`,
      draw,
    );
    const amount = slider(
      "moved by",
      { min: amounts[0], max: amounts.at(-1), step: 1, value: 4 },
      (pixels) => `${pixels} pixels`,
      draw,
    );
    const point = (event) => {
      if (event.type === "pointermove" && !event.buttons) return;
      const box = face.getBoundingClientRect();
      const [x, y] = [event.clientX - box.x - box.width / 2, event.clientY - box.y - box.height / 2];
      const step = Math.round((Math.atan2(x, -y) / Math.PI) * steps);
      direction.input.value = (step + 2 * steps) % (2 * steps);
      direction.update();
    };
    face.addEventListener("pointerdown", (event) => {
      face.setPointerCapture(event.pointerId);
      point(event);
    });
    face.addEventListener("pointermove", point);
    mount(
      "dial",
      html("div", { class: "play-controls" }, digit.box, partner.box, direction.box, amount.box),
      html("div", { class: "play-row" }, face, html("div", { class: "play-stage" }, stage), chart.view),
      status,
    );
    direction.update();
    amount.update();
  }

  // --- (b) What is added to all logits ---

  if (document.getElementById("play-gauge") && data.gauge) {
    const { digits, images, steps, score, centred, logits, shifts } = data.gauge;
    const pictures = images.map(picture);
    const stage = html("img", { alt: "The digit", width: 112, height: 112 });
    const chart = bars("Probabilities of the ten digits");
    const low = -2;
    const high = 4;
    const along = (value) => 20 + (260 * (Math.log10(value) - low)) / (high - low);
    const marker = svg("circle", { r: 7, cy: 34, class: "knob" });
    const scale = svg(
      "svg",
      { viewBox: "0 0 300 124", class: "play-scale", role: "img", "aria-label": "Scores" },
      svg("line", { x1: 20, x2: 280, y1: 34, y2: 34, class: "rim" }),
      svg("line", { x1: 20, x2: 280, y1: 98, y2: 98, class: "rim" }),
      svg("text", { x: 20, y: 18 }, "variance of the summed logits"),
      svg("text", { x: 20, y: 82 }, "variance of what softmax sees"),
      svg("circle", { r: 7, cx: along(centred), cy: 98, class: "knob still" }),
      marker,
    );
    for (let power = low; power <= high; power += 1) {
      const x = along(10 ** power);
      scale.append(svg("line", { x1: x, x2: x, y1: 30, y2: 38, class: "rim" }));
      scale.append(svg("line", { x1: x, x2: x, y1: 94, y2: 102, class: "rim" }));
      scale.append(
        svg("text", { x, y: 116, "text-anchor": "middle", class: "tick" }, String(10 ** power)),
      );
    }
    const status = html("p", { class: "play-status", role: "status" });
    const draw = () => {
      const at = Number(added.input.value);
      const moved = logits[digit.at].map((value) => value + shifts[digit.at][at]);
      const top = Math.max(...moved);
      const weights = moved.map((value) => Math.exp(value - top));
      const total = weights.reduce((sum, value) => sum + value, 0);
      const best = chart.draw(weights.map((value) => value / total));
      stage.src = pictures[digit.at];
      marker.setAttribute("cx", along(score[at]));
      status.textContent =
        `Score ${shown(score[at])}; ${shifts[digit.at][at].toFixed(2)} is added to each of this ` +
        `digit's logits. It reads ${best}, with the same probabilities as ever.`;
    };
    const digit = choice("Digit", digits.map(String), draw);
    const added = slider(
      "added to all ten logits",
      { min: 0, max: steps.length - 1, step: 1, value: steps.indexOf(0) },
      (at) =>
        steps[at] < 0
          ? `${(100 * 10 ** steps[at]).toPrecision(2)} % of their mean left`
          : steps[at] > 0
            ? `${(10 ** steps[at] - 1).toPrecision(2)} × (right − left)`
            : "nothing",
      draw,
    );
    mount(
      "gauge",
      html("div", { class: "play-controls" }, digit.box, added.box),
      html("div", { class: "play-row" }, html("div", { class: "play-stage" }, stage), scale, chart.view),
      status,
    );
    added.update();
  }

  // --- (c) Epochs ---

  if (document.getElementById("play-epochs") && data.epochs) {
    const { epochs, layers, error, seeds } = data.epochs;
    const names = [...layers[0].keys()].map((k) => (k < layers[0].length - 1 ? `${k + 1}` : "out"));
    const columns = names.map((name, k) => {
      const bar = svg("rect", { x: 34 + 38 * k, width: 26 });
      return [bar, svg("text", { x: 47 + 38 * k, y: 156, "text-anchor": "middle" }, name)];
    });
    const level = (value) => 140 - 120 * value;
    const wrong = svg("rect", { x: 284, width: 26, class: "error" });
    const view = svg(
      "svg",
      { viewBox: "0 0 330 176", class: "play-layers", role: "img", "aria-label": "Layers" },
      svg("line", { x1: 28, x2: 316, y1: 140, y2: 140, class: "rim" }),
      svg("line", { x1: 28, x2: 262, y1: 20, y2: 20, class: "chance" }),
      svg("text", { x: 2, y: 24 }, "1"),
      svg("text", { x: 2, y: 84 }, "0.5"),
      svg("text", { x: 2, y: 144 }, "0"),
      ...columns.flat(),
      wrong,
      svg("text", { x: 297, y: 156, "text-anchor": "middle" }, "error"),
      svg("text", { x: 145, y: 172, "text-anchor": "middle" }, "layer"),
    );
    const place = (bar, value) => {
      bar.setAttribute("y", level(value).toFixed(1));
      bar.setAttribute("height", (140 - level(value)).toFixed(1));
    };
    const status = html("p", { class: "play-status", role: "status" });
    const draw = () => {
      const at = Number(epoch.input.value);
      columns.forEach(([bar], k) => place(bar, layers[at][k]));
      place(wrong, error[at]);
      status.textContent =
        `After ${epochs[at]} epochs the last layer changes along a turn ` +
        `${layers[at].at(-1).toFixed(2)} times as much as in a wrong pairing, and ` +
        `${(100 * error[at]).toFixed(1)} % of the digits are read wrongly (${seeds} networks).`;
    };
    const epoch = slider(
      "epochs of training",
      { min: 0, max: epochs.length - 1, step: 1, value: 0 },
      (at) => String(epochs[at]),
      draw,
    );
    const play = html("button", { type: "button" }, "play");
    let timer;
    const stop = () => {
      clearInterval(timer);
      timer = undefined;
      play.textContent = "play";
    };
    play.addEventListener("click", () => {
      if (timer) return stop();
      if (Number(epoch.input.value) === epochs.length - 1) epoch.input.value = 0;
      epoch.update();
      play.textContent = "stop";
      timer = setInterval(() => {
        epoch.input.value = Number(epoch.input.value) + 1;
        epoch.update();
        if (Number(epoch.input.value) === epochs.length - 1) stop();
      }, 900);
    });
    epoch.input.addEventListener("pointerdown", stop);
    mount(
      "epochs",
      html("div", { class: "play-controls" }, epoch.box, html("div", { class: "play-choice" }, play)),
      html("div", { class: "play-row" }, view),
      status,
    );
    epoch.update();
  }

  // --- (d) The choices of an analysis ---

  if (document.getElementById("play-choices") && data.choices) {
    const { choices, gap, bias, gapWrong, biasWrong } = data.choices;
    const x = (value) => 46 + (260 * Math.log10(value)) / Math.log10(20);
    const y = (value) => 30 - 70 * Math.log10(value); // a bias of 1 at the top
    const half = gap.length / 2; // the first choice is the network
    const dot = (k) =>
      svg("circle", { r: 1.8, cx: x(gap[k]), cy: y(bias[k]), class: k < half ? "still" : "faint" });
    const own = svg("circle", { r: 6, class: "knob" });
    const wrong = svg("circle", { r: 6, class: "knob hollow" });
    const between = svg("line", { class: "hand" });
    const view = svg(
      "svg",
      { viewBox: "0 0 330 240", class: "play-wide", role: "img", "aria-label": "Gap and bias" },
      svg("line", { x1: 46, x2: 316, y1: 202, y2: 202, class: "rim" }),
      svg("line", { x1: 46, x2: 46, y1: 20, y2: 202, class: "rim" }),
      ...[1, 2, 5, 10, 20].map((value) =>
        svg("text", { x: x(value), y: 216, "text-anchor": "middle" }, String(value)),
      ),
      ...[0.01, 0.1, 1].map((value) => svg("text", { x: 12, y: y(value) + 4 }, String(value))),
      svg("text", { x: 181, y: 233, "text-anchor": "middle" }, "gap behind the first direction"),
      svg("text", { x: 46, y: 12 }, "bias: distance from a rotation"),
      ...gap.map((_, k) => dot(k)),
      between,
      wrong,
      own,
    );
    const status = html("p", { class: "play-status", role: "status" });
    const draw = () => {
      const at = groups.reduce((sum, { group, labels }) => sum * labels.length + group.at, 0);
      const places = { cx: x(gap[at]), cy: y(bias[at]) };
      const others = { cx: x(gapWrong[at]), cy: y(biasWrong[at]) };
      make(own, places, []);
      make(wrong, others, []);
      make(between, { x1: places.cx, y1: places.cy, x2: others.cx, y2: others.cy }, []);
      status.textContent =
        `Analysis ${at + 1} of ${gap.length}: gap ${shown(gap[at])}, bias ${shown(bias[at])}. With ` +
        `each gradient at another image (hollow): gap ${shown(gapWrong[at])}, bias ${shown(biasWrong[at])}.`;
    };
    const groups = Object.entries(choices).map(([name, labels]) => {
      const group = choice(name, labels, draw);
      return { labels, group, box: html("div", {}, html("span", {}, name), group.box) };
    });
    mount(
      "choices",
      html("div", { class: "play-choices" }, ...groups.map(({ box }) => box)),
      html("div", { class: "play-row" }, view),
      status,
    );
    draw();
  }

  // --- (e) A docked ligand ---

  if (document.getElementById("play-pose") && data.pose) {
    const { name, ligand, pocket, bonds, degrees, judges, scores } = data.pose;
    const dots = pocket.map(() => svg("circle", { r: 3, class: "faint" }));
    const sticks = bonds.map(() => svg("line", { class: "stick" }));
    const view = svg(
      "svg",
      { viewBox: "-110 -110 220 220", class: "play-pocket", role: "img", "aria-label": "The complex" },
      ...dots,
      ...sticks,
    );
    const across = (k) => 8 + (204 * degrees[k]) / 360;
    const down = (row, value) => 50 + 50 * row - 26 * value;
    const marks = judges.map(() => svg("circle", { r: 5, class: "knob" }));
    const curve = (row, part) =>
      scores[part][row].map((value, k) => `${across(k).toFixed(1)},${down(row, value).toFixed(1)}`).join(" ");
    const curves = judges.map(() => svg("polyline", { class: "trace" }));
    const chart = svg(
      "svg",
      { viewBox: "0 0 220 210", class: "play-scores", role: "img", "aria-label": "Scores by angle" },
      ...judges.flatMap((judge, row) => [
        svg("line", { x1: 8, x2: 212, y1: down(row, 0), y2: down(row, 0), class: "rim" }),
        svg("text", { x: 8, y: down(row, 1) - 7 }, judge),
        curves[row],
        marks[row],
      ]),
    );
    const status = html("p", { class: "play-status", role: "status" });
    const draw = () => {
      const at = Number(angle.input.value);
      const turn = (Math.PI * degrees[at]) / 180;
      const [c, s] = [Math.cos(turn), Math.sin(turn)];
      const turned = ([x, y, z]) => [8 * (c * x + s * z), -8 * y, 8 * (c * z - s * x)];
      pocket.forEach((atom, k) => {
        const [x, y, z] = part.at === 0 ? turned(atom) : [8 * atom[0], -8 * atom[1], 8 * atom[2]];
        make(dots[k], { cx: x, cy: y, opacity: (0.45 + z / 250).toFixed(2) }, []);
      });
      const places = ligand.map(turned);
      bonds.forEach(([a, b], k) => {
        const [p, q] = [places[a], places[b]];
        make(sticks[k], { x1: p[0], y1: p[1], x2: q[0], y2: q[1] }, []);
      });
      judges.forEach((_, row) => {
        curves[row].setAttribute("points", curve(row, part.at));
        make(marks[row], { cx: across(at), cy: down(row, scores[part.at][row][at]) }, []);
      });
      const list = judges.map((judge, row) => `${judge} ${scores[part.at][row][at].toFixed(2)}`);
      status.textContent = `${name}, ${part.at ? "the ligand alone" : "everything"} turned by ${degrees[at]}°. Pose score: ${list.join(", ")}.`;
    };
    const part = choice("What turns", ["everything", "the ligand alone"], draw);
    const angle = slider(
      "turned by",
      { min: 0, max: degrees.length - 1, step: 1, value: 0 },
      (at) => `${degrees[at]}°`,
      draw,
    );
    mount(
      "pose",
      html("div", { class: "play-controls" }, part.box, angle.box),
      html("div", { class: "play-row" }, view, chart),
      status,
    );
    angle.update();
  }
});
