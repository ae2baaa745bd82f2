# Only the embedded example makes its own recordings; for one's own data this rule does not exist.
if plan.example_recordings():

    rule example_recordings:
        output:
            plan.example_recordings(),
        log:
            f"{LOGS}/example_recordings.log",
        benchmark:
            f"{LOGS}/example_recordings.benchmark.tsv"
        conda:
            "../../envs/ephysflow.yaml"
        resources:
            plan=str(plan_file),
            mem_mb=1000,
            runtime=10,
        params:
            item=plan.settings("example_recordings"),
            code=plan.code["example_recordings"],
        message:
            "Simulate the embedded example's recordings."
        shell:
            "ephysflow example-recordings --plan {resources.plan:q} > {log:q} 2>&1"
