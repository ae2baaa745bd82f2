rule comparison:
    input:
        plan.comparison_outputs(),
    message:
        "Models beside recordings."


rule compare_analyses:
    input:
        lambda wildcards: plan.comparisons[wildcards.comparison].inputs(),
    output:
        report(
            f"{RESULTS}/comparison/{{comparison}}.parquet",
            caption="../report/comparison.rst",
            category="Comparisons",
            subcategory="{comparison}",
        ),
    log:
        f"{LOGS}/compare_analyses/{{comparison}}.log",
    benchmark:
        f"{LOGS}/compare_analyses/{{comparison}}.benchmark.tsv"
    wildcard_constraints:
        comparison=r"[^/]+",
    conda:
        "../../envs/ephysflow.yaml"
    resources:
        plan=str(plan_file),
        mem_mb=2000,
        runtime=30,
    params:
        item=lambda wildcards: plan.settings("compare_analyses", *wildcards),
        code=plan.code["compare_analyses"],
    message:
        "Lay the features of a model and of a recording side by side ({wildcards.comparison})."
    shell:
        "ephysflow compare-analyses --plan {resources.plan:q} --item {wildcards.comparison:q} > {log:q} 2>&1"
