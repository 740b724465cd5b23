"""Look and behaviour of a report: everything is readable without the script, which only lays pairs over each other."""

CSS = """
:root{color-scheme:light dark;--ink:#1b1b1f;--soft:#5c5c66;--line:#d7d7de;--paper:#fff;--panel:#f6f6f9;--link:#0058a8}
@media (prefers-color-scheme:dark){
:root{--ink:#ececf1;--soft:#a9a9b5;--line:#3b3b45;--paper:#17171b;--panel:#212127;--link:#7db8f5}}
*{box-sizing:border-box}
body{font:16px/1.55 system-ui,sans-serif;color:var(--ink);background:var(--paper);margin:0 auto;max-width:76rem;
padding:1.5rem 1.25rem 4rem}
h1{font-size:1.7rem;line-height:1.2;margin:.2rem 0 .6rem}
h2{font-size:1.3rem;margin:2.4rem 0 .6rem;border-bottom:1px solid var(--line);padding-bottom:.3rem}
h3{font-size:1.05rem;margin:1.6rem 0 .5rem}
a{color:var(--link)}nav ul{display:flex;flex-wrap:wrap;gap:.3rem 1.2rem;list-style:none;padding:0;margin:.8rem 0}
.scroll{overflow-x:auto}table{border-collapse:collapse;margin:.6rem 0 1rem;font-size:.93rem}
caption{text-align:left;font-weight:600;padding:.3rem 0}
th,td{padding:.3rem .7rem;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line)}
th:first-child,td:first-child{text-align:left}thead th{border-bottom:2px solid var(--soft)}td.bar{min-width:11rem}
tbody th{font-weight:500}.note{white-space:normal;text-align:left;min-width:18rem}
small,.soft,figcaption,li.foot{color:var(--soft)}small{white-space:nowrap}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(11rem,1fr));gap:.7rem;padding:0;margin:1rem 0}
.cards div{background:var(--panel);border-radius:.5rem;padding:.6rem .8rem}
.cards dt{font-size:.85rem;color:var(--soft)}.cards dd{margin:0}.cards b{font-size:1.35rem}
.stack{display:flex;height:.95rem;border-radius:.2rem;overflow:hidden;position:relative;background:var(--line)}
.stack span{height:100%}.stack i{position:absolute;top:0;bottom:0;border-left:2px dashed var(--ink)}
.key{display:inline-block;width:.8rem;height:.8rem;border-radius:.15rem;margin:0 .3rem 0 .9rem;vertical-align:-.05rem}
.pairs{display:grid;grid-template-columns:repeat(auto-fill,minmax(15rem,1fr));gap:1.1rem}
.pair{margin:0}.pair .images{display:grid;grid-template-columns:1fr 1fr;gap:2px;position:relative}
.pair img{width:100%;height:auto;display:block;border-radius:.2rem}.pair input{display:none;width:100%;margin:.3rem 0 0}
.pair figcaption{font-size:.85rem;line-height:1.35;margin-top:.25rem}
.live .images{display:block}.live .after{position:absolute;inset:0;clip-path:inset(0 0 0 var(--cut,50%))}
.live .images::after{content:"";position:absolute;top:0;bottom:0;left:var(--cut,50%);border-left:2px solid #fff;
box-shadow:0 0 2px #000;pointer-events:none}.live input{display:block}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(22rem,1fr));gap:1rem}.charts figure{margin:0}
svg{width:100%;height:auto;background:var(--panel);border-radius:.5rem}svg text{font:12px system-ui,sans-serif;
fill:var(--ink)}.axis{fill:none;stroke:var(--soft)}.rule{fill:none;stroke:var(--line)}
details{margin:.7rem 0}summary{cursor:pointer;font-weight:500}img.wide{max-width:100%;height:auto}
pre{background:var(--panel);padding:.8rem;overflow-x:auto;border-radius:.5rem;font-size:.82rem;line-height:1.4}
code{overflow-wrap:anywhere}.warn{border-left:4px solid #d55e00;padding-left:.7rem}
"""

SCRIPT = """
for (const pair of document.querySelectorAll(".pair.movable")) {
  const slider = pair.querySelector("input");
  const move = () => pair.style.setProperty("--cut", slider.value + "%");
  slider.addEventListener("input", move);
  pair.classList.add("live");
  move();
}
"""
