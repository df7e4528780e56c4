import { word } from "./word.js";

report(word);
import.meta.webpackHot.accept("./word.js", () => report(word));
