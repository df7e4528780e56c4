import { word } from "./word.js";

tell(word);
import.meta.webpackHot.accept("./word.js", () => tell(word));
