// The panel of a node of a cluster: which node owns which range of topics, the lease, and what is forwarded.

const $ = (id) => document.getElementById(id);

// Colours of nodes; the first is that of this node. With more nodes, colours come again.
const COLORS = ["--blue", "--green", "--orange", "--purple", "--teal", "--pink"];
const colorOf = (node) => COLORS[node === 0 ? 0 : 1 + ((node - 1) % (COLORS.length - 1))];

// The rows in which ranges are drawn: a range is some pixels wide then.
const ROWS = 8;

let map = null; // of /api/cluster

// Draws all ranges, in rows, each in the colour of its owner; those without owner are red.
function drawOwners(color) {
  const canvas = $("owners");
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(canvas.clientWidth * scale);
  canvas.height = Math.round(canvas.clientHeight * scale);
  const draw = canvas.getContext("2d");
  const { owners } = map;
  const columns = Math.ceil(owners.length / ROWS);
  const colors = map.nodes.map((_, node) => color(colorOf(node)));
  const red = color("--red");
  // At whole pixels, so that neighbours do not mix.
  const x = (column) => Math.round((column / columns) * canvas.width);
  const y = (row) => Math.round((row / ROWS) * canvas.height);
  owners.forEach((owner, range) => {
    const [row, column] = [Math.floor(range / columns), range % columns];
    draw.fillStyle = owner === null ? red : colors[owner];
    draw.fillRect(x(column), y(row), x(column + 1) - x(column), y(row + 1) - y(row));
  });
}

function showMap({ color, fill, whole, bar }) {
  drawOwners(color);
  const { nodes, owners } = map;
  fill("nodes", nodes.map(({ name, address, ranges }, node) => {
    const label = document.createElement("span");
    label.textContent = node === 0 ? `${name} (this node)` : name;
    label.className = "node";
    label.style.setProperty("--node", `var(${colorOf(node)})`);
    return { cells: [label, address, whole(ranges), bar(ranges, owners.length, {})] };
  }), "", 4);
}

function lease({ in_session: inSession, lease_seconds_left: left }) {
  if (!inSession) return "no session";
  return left > 0 ? `${left.toFixed(1)} s` : "over";
}

// Shows what a second tells of the cluster; asks for the map of owners when it has changed. `tools` are
// functions of the page.
export function showCluster(cluster, tools) {
  const { ask, count, whole, time, fill } = tools;
  $("cluster").hidden = !cluster;
  if (!cluster) return;
  const { ranges, forwards, moves } = cluster;
  const rows = [
    ["lease left", lease(cluster), cluster.lease_seconds_left <= 0],
    ["ranges served", whole(ranges.serving)],
    ["ranges loading, leaving", `${whole(ranges.loading)}, ${whole(ranges.leaving)}`],
    ["ranges without owner", whole(ranges.without_owner), ranges.without_owner > 0],
    ["forwarded to other nodes", `${count(forwards.sent)}/s`],
    ["taken from other nodes", `${count(forwards.received)}/s`],
    ["waiting, in flight, held", [forwards.waiting, forwards.in_flight, forwards.held_by_shards].map(whole).join(", ")],
    ["UNAVAILABLE, UNKNOWN", `${count(forwards.unavailable)}/s, ${count(forwards.unknown)}/s`,
      forwards.unavailable + forwards.unknown > 0],
    ["ranges loaded", whole(moves.loaded)],
    ["longest load", time(moves.longest_load_seconds)],
    ["ranges handed over, lost", `${whole(moves.handed_over)}, ${whole(moves.lost)}`],
    ["commits that failed", whole(moves.commits_failed)],
  ];
  fill("cluster-figures", rows.map(([name, figure, warn]) => ({ cells: [name, figure], warn })), "", 2);
  if (map?.map === cluster.map) return;
  ask("api/cluster").then((known) => {
    map = known;
    showMap(tools);
  }).catch(() => {});
}

// Draws the owners again, in another width or other colours.
export function drawCluster({ color }) {
  if (map && !$("cluster").hidden) drawOwners(color);
}
