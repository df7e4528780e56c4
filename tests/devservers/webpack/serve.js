// What `webpack serve --host localhost --client-web-socket-url auto://0.0.0.0:0/ws` does, without
// the package of the command line.
import webpack from "webpack";
import WebpackDevServer from "webpack-dev-server";

const compiler = webpack({ mode: "development", context: import.meta.dirname, entry: "./main.js" });
const server = new WebpackDevServer(
  { host: "localhost", port: "auto", client: { webSocketURL: "auto://0.0.0.0:0/ws" } },
  compiler,
);
await server.start();
console.log(`http://localhost:${server.options.port}/`);
