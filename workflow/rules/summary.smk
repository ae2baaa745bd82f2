rule summarise:
    input:
        plan.summary_inputs(),
    output:
        plan.summary_outputs()[0],
        report(
            plan.summary_outputs()[1:],
            caption="../report/tables.rst",
            category="Tables",
        ),
    log:
        f"{LOGS}/summarise.log",
    benchmark:
        f"{LOGS}/summarise.benchmark.tsv"
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        plan=str(plan_file),
        mem_mb=1000,
        runtime=10,
    params:
        item=plan.settings("summarise"),
        code=plan.code["summarise"],
    message:
        "Put together what was left out, what is doubtful, and what came out."
    shell:
        "ephysflow summarise --plan {resources.plan:q} > {log:q} 2>&1"
