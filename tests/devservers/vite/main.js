import { word } from "./word.js";

report(word);
import.meta.hot.accept("./word.js", (fresh) => report(fresh.word));
