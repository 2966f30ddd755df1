try {
  await client.resources.create({ name: "" });
} catch (err) {
  if (err.code === "parameter_missing") {
    console.error(`Missing: ${err.param}`);
  }
}
