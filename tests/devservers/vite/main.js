import { word } from "./word.js";

tell(word);
import.meta.hot.accept("./word.js", (fresh) => tell(fresh.word));
